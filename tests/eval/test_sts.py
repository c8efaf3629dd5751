"""STS Benchmark files: what is read, what is refused, what is measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from gritlite import GritLM, instruction
from gritlite.errors import EmptyTextError, FileError, FormatError, InputTooLongError
from gritlite.eval.encoder import GritEncoder
from gritlite.eval.sts import STS


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(content: str) -> Path:
        path = tmp_path / "pairs.tsv"
        path.write_bytes(content.encode())
        return path

    return write


def pair(score: object, first: str, second: str, *more: str) -> str:
    return "\t".join(["genre", "file", "year", "7", str(score), first, second, *more]) + "\n"


def test_the_cosines_are_ranked_against_the_scores(write: Any, chosen: Any, steps: Any) -> None:
    vectors = {"a": [1, 0], "b": [1, 1], "c": [0, 1], "d": [-1, 0], '"e': [1, 0.5]}
    path = write(
        pair(5, "a", "b")
        + pair(0.5, "a", "c", "MSRvid", "more")
        + pair(1, "a", "d")
        + "\n"
        + pair(3.2, "a", '"e').replace("\n", "\r\n")
    )
    (score,) = STS(path).run(chosen(vectors), steps)
    expected = scipy.stats.spearmanr([5, 0.5, 1, 3.2], [0.7, 0, -1, 0.9]).statistic
    assert score.value == pytest.approx(expected)
    assert (score.task, score.measure) == ("sts pairs.tsv", "Spearman")
    assert (score.count, score.note) == (4, "")
    assert steps.seen == [(done, 8) for done in range(1, 9)]


def test_both_texts_get_the_instruction(write: Any, chosen: Any, steps: Any) -> None:
    encoder = chosen({"a": [1, 0], "b": [1, 1], "c": [0, 1]})
    STS(write(pair(5, "a", "b") + pair(1, "b", "c")), instruction="words").run(encoder, steps)
    assert encoder.instructions == dict.fromkeys("abc", "words")


def test_a_limit_spreads_over_the_file(write: Any, chosen: Any, steps: Any) -> None:
    path = write("".join(pair(i % 6, f"t{i}", "x") for i in range(100)))
    encoder = chosen({f"t{i}": [1, i] for i in range(100)} | {"x": [1, 0]})
    (score,) = STS(path, limit=4).run(encoder, steps)
    assert score.count == 4
    assert set(encoder.instructions) == {"t0", "t25", "t50", "t75", "x"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a\tb\n", "2 tab-separated columns"),
        (pair("good", "a", "b"), "the score 'good' is not a number"),
        (pair("nan", "a", "b"), "the score 'nan' is not finite"),
    ],
)
def test_a_bad_line_is_named(write: Any, line: str, problem: str) -> None:
    with pytest.raises(FormatError, match=f"pairs.tsv, line 3: {problem}"):
        STS(write(pair(1, "a", "b") + "\n" + line))


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_bytes(pair(1, "a", "b").encode() + b"\xff\n")
    with pytest.raises(FormatError, match="line 2: not valid UTF-8: byte 0xff"):
        STS(path)


def test_scores_that_order_nothing_are_refused(write: Any) -> None:
    with pytest.raises(FormatError, match="no two pairs with different scores"):
        STS(write(pair(3, "a", "b") + pair(3, "c", "d")))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot read .*none\.tsv"):
        STS(tmp_path / "none.tsv")


def test_an_empty_text_is_named_by_its_line(write: Any, tiny_model: GritLM, steps: Any) -> None:
    task = STS(write(pair(1, "a", "b") + pair(2, "a", "")))
    with pytest.raises(EmptyTextError, match=r"pairs\.tsv, line 2: empty"):
        task.run(GritEncoder(tiny_model), steps)


def test_a_long_text_is_refused_or_cut_and_counted(
    write: Any, tiny_model: GritLM, steps: Any
) -> None:
    path = write(pair(1, "a b c", "hello") + pair(2, "word " * 50, "d " * 50) + pair(3, "e", "f"))
    with pytest.raises(InputTooLongError, match=r"pairs\.tsv, line 2: .* over the limit of 16"):
        STS(path).run(GritEncoder(tiny_model, max_length=16), steps)
    assert steps.seen == []  # told before the work
    encoder = GritEncoder(tiny_model, max_length=16, truncate=True)
    for _ in range(2):
        (score,) = STS(path).run(encoder, steps)
        assert score.note == "2 of 6 texts cut to 16 tokens"


def test_a_model_gets_the_files_prompt(write: Any, tiny_model: GritLM, steps: Any) -> None:
    lines = [
        (1, "hello", "there"),
        (4, "a vector", "of numbers"),
        (2, "red", "green"),
        (5, "e", "f"),
    ]
    (score,) = STS(write("".join(pair(*line) for line in lines)), instruction="Find it").run(
        GritEncoder(tiny_model), steps
    )
    prompt = instruction("Find it")
    cosines = [
        float(tiny_model.encode(a, instruction=prompt) @ tiny_model.encode(b, instruction=prompt))
        for _, a, b in lines
    ]
    expected = scipy.stats.spearmanr([line[0] for line in lines], cosines).statistic
    assert score.value == pytest.approx(expected)
