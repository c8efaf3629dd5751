"""Generate questions from statements: "The bridge was opened in 1932." gives "When ...?".

A few patterns over English prose, each with an answer that is in the statement word for word:
a full question where the grammar is simple, otherwise the statement with a question word in
place of the answer ("The bridge was opened to traffic in what year?"). Precision matters more
than recall: most sentences give no question. The module knows no corpus.
"""

import re
from collections.abc import Iterator

from words import sentences, words

LONGEST = 24  # words of a statement that is asked about in place

_SUBJECT = r"^(?P<subject>(?:[\w'\u2019.-]+ ){0,7}?[\w'\u2019-]+)"
_NAME = r"[A-Z][\w'\u2019-]+(?: (?:(?:de|van|von|of|the) )?[A-Z][\w'\u2019-]+){0,4}"
_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_DATE = rf"(?:{_MONTH} \d{{1,2}}, \d{{4}}|\d{{1,2}} {_MONTH} \d{{4}}|{_MONTH} \d{{4}}|\d{{4}})"
_NUMBER = r"(?P<answer>(?:about |around |approximately |over )?\d[\d,.]*(?: million| billion)?)"
_KIND = r"(?: an? [\w -]{1,60}?)?"  # "a 2004 film" in "X is a 2004 film directed by Y"
_END = r"(?=[,.;:)]| and | in | on | for | at | as | from | with | who )"

_HAPPENED = (
    "born|founded|built|released|established|introduced|created|published|formed|opened|launched|"
    "completed|signed|adopted|discovered|invented|developed|constructed|elected|abolished|"
    "destroyed|closed|renamed|cancelled|announced|acquired|designed|approved|passed|ratified"
)
_MADE = (
    "directed|created|designed|founded|produced|developed|discovered|invented|published|composed|"
    "established|owned|operated|performed|recorded|led|built|introduced|hosted|distributed"
)
_DID = {
    "premiered": "premiere",
    "ended": "end",
    "died": "die",
    "began": "begin",
    "opened": "open",
    "closed": "close",
    "debuted": "debut",
    "retired": "retire",
    "aired": "air",
    "concluded": "conclude",
}

# each pattern with the question that its group "answer" answers
_PATTERNS = tuple(
    (re.compile(f"{_SUBJECT} {pattern}"), question)
    for pattern, question in (
        (
            rf"(?P<be>was|were) (?:first |officially |originally )?(?P<verb>{_HAPPENED}) "
            rf"(?:\w+ly )?(?:in|on) (?P<answer>{_DATE})\b",
            "When {be} {subject} {verb}?",
        ),
        (
            rf"(?:first |originally )?(?P<did>{'|'.join(_DID)}) (?:\w+ [\w ]{{0,30}}?)?(?:in|on) "
            rf"(?P<answer>{_DATE})\b",
            "When did {subject} {did}?",
        ),
        (
            rf"(?:is|was|were|are){_KIND} (?P<verb>{_MADE}) by (?P<answer>{_NAME}){_END}",
            "Who {verb} {subject}?",
        ),
        (
            rf"(?:is|was|were|are){_KIND} written by (?P<answer>{_NAME}){_END}",
            "Who wrote {subject}?",
        ),
        (
            r"(?P<be>is|was|are|were) (?:\w+ly )?(?P<verb>located|situated|based|held|filmed|born)"
            rf" in (?P<answer>(?:the )?{_NAME}(?:, {_NAME})?){_END}",
            "Where {be} {subject} {verb}?",
        ),
        (
            rf"(?:has|had) (?:a|an estimated) population of {_NUMBER}",
            "What is the population of {subject}?",
        ),
        (
            rf"(?:consists|consisted) of {_NUMBER} (?P<thing>[a-z]+)",
            "How many {thing} does {subject} consist of?",
        ),
        (
            rf"(?:has|contains) {_NUMBER} (?P<thing>[a-z]+s)\b",
            "How many {thing} does {subject} have?",
        ),
        (
            r"(?:is|are) (?:also |often )?(?:called|known as|referred to as) "
            rf"(?P<answer>(?:an? |the )?[\w'-]+(?: [\w'-]+){{0,3}}?){_END}",
            "What is another name for {subject}?",
        ),
    )
)

# each pattern with what asks for its group "answer" in its place
_IN_PLACE = tuple(
    (re.compile(pattern), asked)
    for pattern, asked in (
        (r"(?<=\bin )(?P<answer>\d{4})(?=[,.;]| )", "what year"),
        (rf"(?<=\bon )(?P<answer>{_DATE})", "what date"),
        (rf"(?<=(?:ed|en) by )(?P<answer>{_NAME})(?=[,.;] | in | on | for |\.$)", "whom"),
        (
            r"(?<=[a-z] )(?<! to )(?P<answer>\d[\d,.]*)(?= [a-z]+s\b)(?! (?:was|is|has|years)\b)",
            "how many",
        ),
        (rf"(?<=\blocated in )(?P<answer>(?:the )?{_NAME}){_END}", "which place"),
    )
)

# what begins no subject that can be asked about away from its sentence
_NOT_FIRST = frozenset(
    words(
        "he she it they we i you this that these those there his her its their my your our who "
        "which what when where while after before in on at by for from with as if although since "
        "during both some many most all one two another however also then but and or so to of not "
        "no each such other following having being although though because until"
    )
)
# what stands in no noun phrase: the subject would be a clause
_NOT_INSIDE = frozenset(
    words(
        "is was were are has had have been be that which who whom when where he she it they "
        "will would can could may might did does do as than if because while said"
    )
)


def ask(passage: str) -> Iterator[tuple[str, str]]:
    """Questions on `passage` and their answers, at most one a sentence, in its order."""
    for sentence in sentences(passage):
        asked = _whole(sentence) or _in_place(sentence)
        if asked:
            yield asked


def _whole(sentence: str) -> tuple[str, str] | None:
    for pattern, question in _PATTERNS:
        match = pattern.match(sentence)
        if match and _stands_alone(match["subject"]):
            fields = match.groupdict() | {"subject": _inside(match["subject"])}
            if "did" in fields:
                fields["did"] = _DID[match["did"]]
            return question.format(**fields), match["answer"].rstrip(".,")
    return None


def _in_place(sentence: str) -> tuple[str, str] | None:
    opening = sentence.split()[0].lower().strip("\"'\u201c,")
    fits = 6 <= len(sentence.split()) <= LONGEST and "(" not in sentence and sentence[-1] == "."
    if opening in _NOT_FIRST or not fits:
        return None
    for pattern, asked in _IN_PLACE:
        match = pattern.search(sentence)
        if match and sentence.count(match["answer"]) == 1:
            question = sentence[: match.start()] + asked + sentence[match.end() : -1] + "?"
            return question, match["answer"].rstrip(".,")
    return None


def _stands_alone(subject: str) -> bool:
    """Whether `subject` names or describes one thing without what was said before."""
    inside = subject.lower().split()
    named = any(word[0].isupper() for word in subject.split()[1:]) or len(inside) == 1
    return (
        subject[0].isupper()
        and subject not in ("Filming", "Production")
        and named
        and inside[0] not in _NOT_FIRST
        and not _NOT_INSIDE & {*inside}
    )


def _inside(subject: str) -> str:
    """`subject` as it is written within a sentence; a title keeps its article's capital."""
    first, _, rest = subject.partition(" ")
    title = first in ("The", "A", "An") and all(word[0].isupper() for word in rest.split())
    return subject if title else re.sub(r"^(The|A|An) ", lambda m: m[0].lower(), subject)
