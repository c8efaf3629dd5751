"""Texts with categories: the files, the classification, the clustering.

tests/oracle/test_mteb.py holds both procedures against mteb's.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gritlite.errors import EmptyTextError, FormatError, MissingExtraError
from gritlite.eval import classification, clustering
from gritlite.eval.classification import Classification, draw
from gritlite.eval.clustering import Clustering
from gritlite.eval.labelled_texts import read_labelled

CATEGORIES = ("north", "south", "east")
DIRECTIONS = {"north": (0, 1), "south": (0, -1), "east": (1, 0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """30 texts to train on and 15 to test, named by their category."""
    for part, count in (("train", 10), ("test", 5)):
        lines = [f"{part} {c} {i},{c}\n" for i in range(count) for c in CATEGORIES]
        (tmp_path / f"{part}.csv").write_text("text,category\n" + "".join(lines))
    return tmp_path


def around(*, spread: float) -> dict[str, list[float]]:
    """Vectors about the direction of each text's category."""
    random = np.random.default_rng(1)
    return {
        f"{part} {category} {i}": (DIRECTIONS[category] + spread * random.normal(size=2)).tolist()
        for part in ("train", "test")
        for category in CATEGORIES
        for i in range(10)
    }


def test_quoted_texts_may_hold_commas_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbftext,category\r\n"a, ""b""\n c",x\r\n d \x0b,y\r\n')
    found = read_labelled(path)
    assert [(entry.text, entry.category) for entry in found] == [
        ('a, "b"\n c', "x"),
        (" d \x0b", "y"),
    ]
    assert [entry.place for entry in found] == [f"{path}, line 3", f"{path}, line 4"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", r"line 1: expected the columns text,category"),
        ("label,text\na,b\n", r"line 1: expected the columns text,category"),
        ("text,category\na,b\nc\n", r"line 3: 1 columns: expected 2"),
        ('text,category\na,b\n"c" d,e\n', r"line 3: not CSV"),
        ("text,category\na,b\nc,b\n", r"fewer than two categories"),
    ],
)
def test_bad_csv(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(FormatError, match=problem):
        read_labelled(tmp_path / "a.csv")


def test_each_draw_takes_eight_of_each_category() -> None:
    categories = ["a"] * 50 + ["b"] * 9 + ["c"] * 3
    draws = draw(categories)
    assert len(draws) == classification.DRAWS
    assert len({tuple(sorted(indices)) for indices in draws}) == len(draws)
    for indices in draws:
        drawn = [categories[index] for index in indices]
        assert [drawn.count(name) for name in "abc"] == [8, 8, 3]


def test_clear_categories_are_told_apart(folder: Path, chosen: Any, steps: Any) -> None:
    encoder = chosen(around(spread=0.05))
    (score,) = Classification(folder, instruction="words").run(encoder, steps)
    assert score.value == 1
    assert (score.measure, score.count) == ("accuracy", 15)
    assert score.task == f"classification {folder.name}"
    assert score.note == "mean of 10 draws of 8 texts a category"
    assert set(encoder.instructions.values()) == {"words"}


def test_blurred_categories_are_mixed_up(folder: Path, chosen: Any, steps: Any) -> None:
    (score,) = Classification(folder).run(chosen(around(spread=0.7)), steps)
    assert 0.4 < score.value < 0.95


def test_a_fit_that_was_cut_short_is_told(
    folder: Path, chosen: Any, steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classification, "MAX_ITERATIONS", 1)
    (score,) = Classification(folder).run(chosen(around(spread=0.3)), steps)
    assert score.note.endswith("category, 10 of them stopped at 1 iterations")


def test_only_drawn_texts_are_embedded(tmp_path: Path, chosen: Any, steps: Any) -> None:
    lines = [f"{c} {i},{c}\n" for i in range(400) for c in CATEGORIES]
    (tmp_path / "train.csv").write_text("text,category\n" + "".join(lines))
    (tmp_path / "test.csv").write_text("text,category\n" + "".join(lines[:30]))
    vectors = {line.partition(",")[0]: DIRECTIONS[line.split()[0]] for line in lines}
    task = Classification(tmp_path, limit=6)
    (score,) = task.run(chosen(vectors), steps)
    assert (score.value, score.count) == (1, 6)
    assert steps.seen[-1][1] <= 240 + 6


def test_a_category_without_training_texts(folder: Path) -> None:
    with open(folder / "test.csv", "a") as file:
        file.write("where,west\n")
    with pytest.raises(FormatError, match=r"test\.csv, line 17: train\.csv has no category 'west'"):
        Classification(folder)


@pytest.fixture
def _few_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many vectors a draw as a small test set needs."""
    monkeypatch.setattr(clustering, "DRAWN", 200)


@pytest.mark.usefixtures("_few_drawn")
def test_clusters_that_are_the_categories(folder: Path, chosen: Any, steps: Any) -> None:
    encoder = chosen(around(spread=0.01))
    (score,) = Clustering(folder / "test.csv", instruction="words").run(encoder, steps)
    assert 0.8 < score.value <= 1  # one random start may join two of them
    assert (score.task, score.measure, score.count) == ("clustering test.csv", "v-measure", 15)
    assert set(encoder.instructions.values()) == {"words"}


@pytest.mark.usefixtures("_few_drawn")
def test_clusters_that_are_not(folder: Path, chosen: Any, steps: Any) -> None:
    random = np.random.default_rng(1)
    vectors = {name: random.normal(size=2).tolist() for name in around(spread=0)}
    (score,) = Clustering(folder / "test.csv").run(chosen(vectors), steps)
    assert score.value < 0.5


def test_an_empty_text_is_named(folder: Path, chosen: Any, steps: Any) -> None:
    with open(folder / "test.csv", "a") as file:
        file.write(",north\n")
    with pytest.raises(EmptyTextError, match=r"test\.csv, line 17: empty"):
        Clustering(folder / "test.csv").run(chosen(around(spread=0.1)), steps)


@pytest.mark.parametrize("task", [Classification, Clustering])
def test_without_scikit_learn(folder: Path, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"scikit-learn: run .*gritlite\[eval\]"):
        task(folder / "test.csv" if task is Clustering else folder)
