"""Passages, questions and answers out of prompts that P3's templates made (arXiv 2110.08207).

Of each data set the templates are read that keep the three parts apart; the same question comes
in several of these, and `readings` yields it once. Passages of adversarial_qa are SQuAD's: what
overlaps with XQuAD is left out later, as of every source.
"""

import re
from collections.abc import Iterator

import corpora
from held_out import is_held_out
from material import Inputs

# of templates' names, with a pattern that has the groups p (passage) and q (question)
_FORMS = tuple(
    (re.compile(name), re.compile(form, re.DOTALL))
    for name, form in (
        (
            r"adversarial_qa_\w+_based_on",
            r"Extract the answer to the question from the following context\.\n"
            r"Question: (?P<q>.*?)\nContext: (?P<p>.*)",
        ),
        (
            r"adversarial_qa_\w+_question_context_answer",
            r'Question: "(?P<q>.*?)"\n\nContext: "(?P<p>.*)"\n\nAnswer:',
        ),
        (
            r"adversarial_qa_\w+_answer_the_following_q",
            r'Given the following passage\n\n"(?P<p>.*)",\n\nanswer the following question\. .*?'
            r"\n\nQuestion: (?P<q>.*)",
        ),
        (
            r"quoref_Answer_Question_Given_Context",
            r"Given the following context:\n\n(?P<p>.*)\n\n"
            r"answer the following question:\n\n(?P<q>.*)",
        ),
        (
            r"quoref_What_Is_The_Answer",
            r"What is the answer for the question: (?P<q>.*?) from the following article \?\n\n"
            r"(?P<p>.*)",
        ),
        (
            r"quoref_Read_And_Extract_",
            r"Read the following paragraph and extract the answer for the question: (?P<q>.*?)\n\n"
            r"(?P<p>.*)",
        ),
        (r"ropes_plain_background_situation", r"(?P<p>.*)\n\n(?P<q>[^\n]*)"),
        (
            r"duorc_\w+_question_answering",
            r"Question: (?P<q>.*?)\n[^\n]*\nMovie title: [^\n]*\nContext: (?P<p>.*)",
        ),
        (
            r"wiki_hop_original_generate_object",
            r"Information:\n\n(?P<p>.*)\n\n(?P<q>What entity does [^\n]*)",
        ),
    )
)


def readings(inputs: Inputs, *, held_out: bool = False) -> Iterator[tuple[str, str, str]]:
    """Passages to train on, or those held out, questions and answers; a question comes once."""
    seen: set[str] = set()
    for row in corpora.json_lines(inputs.train("t0_qa.jsonl")):
        for name, form in _FORMS:
            match = name.fullmatch(row["template"]) and form.fullmatch(row["prompt"].strip())
            if match and match["q"] not in seen:
                seen.add(match["q"])
                passage = _joined(match["p"])
                if is_held_out(passage) == held_out:
                    yield passage, _asked(match["q"]), _answer(row)


def facts(inputs: Inputs) -> Iterator[tuple[str, str, str, str]]:
    """Two facts of QASC, a question that needs both, and its answer."""
    form = re.compile(
        r"Fact 1: (.*?)\n\nFact 2: (.*?)\n\nGiven the two facts above, (.*\?)", re.DOTALL
    )
    for row in corpora.json_lines(inputs.train("t0_qa.jsonl")):
        match = form.fullmatch(row["prompt"].strip())
        if match:
            first, second, question = match.groups()
            question = question[0].upper() + question[1:].replace("? ?", "?")
            yield first, second, question, _answer(row)


def _answer(row: dict[str, str]) -> str:
    return row["completion"].removesuffix("<|endoftext|>").strip()


def _joined(passage: str) -> str:
    """A passage on one line, whose parts were a list's."""
    return " ".join(corpora.untokenised(line.removeprefix("- ")) for line in passage.splitlines())


def _asked(question: str) -> str:
    """A question as people write it: one of wiki_hop names a relation."""
    relation = re.fullmatch(r"What entity does '(.*)' has the relation '(.*)' with\?", question)
    if relation:
        return f"{relation[2].capitalize()} of {relation[1]}: what?"
    return corpora.untokenised(question)
