"""Readers of corpora: each yields the contents of one file or package, in its order.

They only clean what is specific to their file; `sources.py` selects.
"""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from words import sentences, squeeze


def json_lines(path: Path) -> Iterator[Any]:
    """The values of a JSONL file."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def sts(path: Path) -> Iterator[tuple[str, str, float]]:
    """Pairs of an STS Benchmark file, and their score from 0 to 1."""
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        yield fields[5], fields[6], float(fields[4]) / 5


def mrpc(path: Path) -> Iterator[tuple[str, str, bool]]:
    """Sentence pairs of MRPC, and whether they mean the same."""
    for line in path.read_text(encoding="utf-8-sig").splitlines()[1:]:
        label, _, _, first, second = line.split("\t")
        yield first, second, label == "1"


def disfl_qa(path: Path) -> Iterator[tuple[str, str]]:
    """Questions of Disfl-QA: as written, and as somebody stumbling says them."""
    for row in json.loads(path.read_text(encoding="utf-8")).values():
        yield row["original"], row["disfluent"]


def alpaca(path: Path) -> Iterator[tuple[str, str]]:
    """Requests, with their input below them, and answers."""
    for row in json.loads(path.read_text(encoding="utf-8")):
        yield f"{row['instruction']}\n\n{row['input']}".strip(), row["output"].strip()


def gsm8k(path: Path) -> Iterator[tuple[str, str]]:
    """Word problems and their solutions, without the calculator's marks."""
    for row in json_lines(path):
        solution = re.sub(r"<<.*?>>", "", row["answer"])
        yield row["question"], re.sub(r"\n#### (.*)", r"\nThe answer is \1.", solution)


def instances(path: Path) -> tuple[str, list[tuple[str, list[str]]]]:
    """A Natural Instructions task: its definition, and its inputs with their right outputs."""
    task = json.loads(path.read_text(encoding="utf-8"))
    rows = [(row["input"].strip(), row["output"]) for row in task["Instances"]]
    return task["Definition"].strip(), rows


def multirc(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Passages of MultiRC, without the numbers of their sentences, and questions on them."""
    for text, questions in instances(path)[1]:
        passage = re.sub(r"\s*Sent \d+: ?", " ", text.removeprefix("Paragraph-"))
        yield squeeze(passage.replace("\\tab", " ")), questions


def labelled(text: str, *labels: str) -> tuple[str, ...] | None:
    """The parts of "Context: ... Question: ..." after each label; None where one is missing."""
    pattern = r"\s*".join(rf"{label}:\s*(.*?)" for label in labels)
    match = re.fullmatch(pattern, text, re.DOTALL)
    return tuple(squeeze(part) for part in match.groups()) if match else None


def boolq(folder: Path) -> Iterator[tuple[str, str, bool]]:
    """Labelled rows of BoolQ: question, passage, whether the answer is yes.

    The package's file mixes the three parts. The development rows among these have the
    questions of its `dev.jsonl`: `boolq_held_out` has them.
    """
    for row in json_lines(folder / "combined.jsonl"):
        if "label" in row:
            yield row["question"] + "?", _boolq_passage(row["passage"]), row["label"]


def boolq_held_out(folder: Path) -> Iterator[tuple[str, str]]:
    """Questions and passages of BoolQ's development part, and of its test part, without labels."""
    for row in json_lines(folder / "dev.jsonl"):
        yield row["question"], _boolq_passage(row["passage"])
    for row in json_lines(folder / "combined.jsonl"):
        if "label" not in row:
            yield row["question"], _boolq_passage(row["passage"])


def _boolq_passage(text: str) -> str:
    """Without the article's title, which stands before a dash, and with plain quotes."""
    return squeeze(re.sub(r"^.{1,100}? -- ", "", text).replace("``", '"').replace("''", '"'))


def untokenised(text: str) -> str:
    """Text whose tokens stand apart, joined as people write it."""
    text = re.sub(r"\s+([.,;:!?%)\]])", r"\1", squeeze(text))
    text = re.sub(r"([(\[]|\$(?= \d))\s+", r"\1", text).replace(" n't", "n't")
    text = re.sub(r"(?<=\w) ([-\u2013/]) (?=\w)", r"\1", text)
    text = re.sub(r"(?<=\w) ?' ?(s|t|re|ve|ll|d|m)\b", r"'\1", text)
    text = re.sub(r"(?<=\d), (?=\d{3}\b)", ",", text)
    return re.sub(r'" (.*?) "', r'"\1"', text)


def wordnet(folder: Path) -> Iterator[tuple[list[str], str]]:
    """Synonyms and their gloss, without its examples."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            fields, gloss = line.split(" | ", 1)
            columns = fields.split()
            count = int(columns[3], 16)
            lemmas = [columns[4 + 2 * i].replace("_", " ") for i in range(count)]
            lemmas = [re.sub(r"\((a|p|ip)\)$", "", lemma) for lemma in lemmas]
            yield lemmas, gloss.split('; "')[0].split(': "')[0].strip(" ;")


def foldoc(path: Path) -> Iterator[tuple[str, str]]:
    """Terms of the Free On-line Dictionary of Computing, and the first paragraph on each."""
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        entries = re.split(r"\n(?=\S)", file.read())
    for entry in entries:
        term, _, body = entry.partition("\n")
        text = re.sub(r"^\s*(1\. )?(<[^>]*>\s*)?", "", body.strip("\n").split("\n\n")[0])
        text = re.sub(r"^\(.*?\)\s+(?=[A-Z])", "", squeeze(re.sub(r"[{}]|__", "", text)))
        if not term.startswith("00-"):
            yield term.strip(), text


def debian(path: Path) -> Iterator[tuple[str, str, str]]:
    """Debian packages: name, short description, first paragraph of the long one."""
    for record in path.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        match = re.fullmatch(
            r"Package: (\S+)\n.*?Description-en: ([^\n]*)\n(.*)", record, re.DOTALL
        )
        if match:
            name, short, long = match.groups()
            yield name, squeeze(short), squeeze(re.split(r"\n \.(?=\n|$)", long)[0])


def brown(folder: Path) -> Iterator[str]:
    """Paragraphs of the Brown corpus, without their tags."""
    for path in sorted(folder.glob("c[a-r][0-9][0-9]")):
        for paragraph in re.split(r"\n\s*\n\s*\n", path.read_text(encoding="latin-1")):
            tokens = [token.rsplit("/", 1)[0] for token in paragraph.split()]
            text = " ".join(tokens).replace("``", '"').replace("''", '"')
            text = untokenised(re.sub(r"([;:?!]) \1", r"\1", text))
            if text:
                yield text


def wikipedia(path: Path) -> Iterator[list[str]]:
    """Articles of the Wikipedia file, each a list of paragraphs.

    The file ran an article's paragraphs together: a full stop before a capital letter or a
    year without a space between parts two. Headings stand, unmarked, before the first
    sentence below them: a first sentence that may hold one is left out.
    """
    for article in path.read_text(encoding="utf-8").splitlines():
        text = re.sub(r"\(\s*[;,][;,\s]*", "(", squeeze(article))
        text = re.sub(r"\s*\([^()]{0,20}[:\s]*\)", _without_empty, text)
        text = re.sub(r"\s*[;,]\s*(?=[;,])", "", text)
        parts = _GLUED.split(text)
        yield [parts[0], *(_without_heading(part) for part in parts[1:])]


_GLUED = re.compile(
    r"(?:(?<=[a-z\d)\"][.?!])|(?<=[.?!]\")|(?<=[A-Z]{2}\.))(?=[A-Z][a-z]|[A-Z] |\d{4}\D)"
)


def _without_empty(match: re.Match[str]) -> str:
    """Brackets whose foreign word the file lost, "(Greek: )", go."""
    return "" if re.fullmatch(r"\s*\((?:[^()]*:)?\s*\)", match[0]) else match[0]


_HEADING = re.compile(
    r"^[A-Z0-9][^.!?]{0,80}? (?:The|In|A|An|On|At|As|He|She|It|This|These|There|Many|Some|"
    r"According|While|By|After|For|During|When|His|Her|Its|From|Since|One|Although|Most|To|With)\b"
    r"|^[^.!?]*?(?<!\bMc)(?<!\bMac)[a-z)\d][A-Z][a-z]|^\d{4}|^(\w+) \1\b"
)


def _without_heading(paragraph: str) -> str:
    if _HEADING.match(paragraph):
        return " ".join(sentences(paragraph)[1:])
    return paragraph
