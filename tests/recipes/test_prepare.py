"""The whole recipe, on a data folder and packages of a few lines each."""

import json
import random
from dataclasses import replace
from pathlib import Path

import prepare
import pytest
from material import Inputs
from overlap import Evaluated
from reading import readings
from sources import SOURCES

from gritlite.train.rows import read_rows
from tests.recipes.samples import make_data, make_packages


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(make_data(tmp_path / "data"), make_packages(tmp_path / "packages"))


@pytest.fixture
def run(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the recipe has written into."""
    monkeypatch.setattr(prepare, "fetch_all", lambda *_, **__: inputs.packages)
    prepare.prepare(inputs.data, tmp_path / "made", tmp_path / "scratch")
    return tmp_path / "made"


def test_every_source_has_rows_that_the_trainer_takes(run: Path) -> None:
    assert {path.stem for path in run.iterdir()} == {source.name for source in SOURCES}
    for path in run.iterdir():
        assert read_rows(path), path.name


def test_the_teachers_stand_beside_the_rows(run: Path) -> None:
    for name in ("teacher", "mpnet"):
        assert (run.parent / name / "config.json").is_file()


def test_nothing_evaluated_is_written(run: Path, inputs: Inputs) -> None:
    """The samples plant an evaluated text into every corpus, and a question of XQuAD."""
    for source in SOURCES:
        made = json.dumps(list(source.rows(inputs, random.Random(1))))
        written = (run / f"{source.name}.jsonl").read_text(encoding="utf-8")
        assert "secret number" in made or "number is secret" in made, source.name
        assert "secret" not in written, source.name


def test_the_same_data_give_the_same_bytes(run: Path, inputs: Inputs, tmp_path: Path) -> None:
    prepare.prepare(inputs.data, tmp_path / "again", tmp_path / "scratch")
    for path in run.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_table_tells_what_became_of_the_rows(
    run: Path, inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare.prepare(inputs.data, run, tmp_path / "scratch")
    table = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert table[0] == ["source", "made", "overlapping", "doubled", "kept", "tokens, about"]
    for name, made, overlapping, doubled, kept, tokens in table[2:]:
        lines = (run / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        assert int(made) - int(overlapping) - int(doubled) == int(kept) == len(lines)
        assert int(overlapping) > 0
        assert int(tokens) > 0


def test_a_limit_keeps_a_mixture(inputs: Inputs, tmp_path: Path) -> None:
    titles = next(source for source in SOURCES if source.name == "titles")
    counts = prepare.write(replace(titles, limit=2), inputs, Evaluated(), tmp_path / "two.jsonl")
    assert counts.kept == 2 < counts.made
    whole = prepare.write(titles, inputs, Evaluated(), tmp_path / "all.jsonl")
    assert whole.kept == whole.made - whole.doubled
    first = (tmp_path / "all.jsonl").read_bytes().splitlines()[:2]
    assert (tmp_path / "two.jsonl").read_bytes().splitlines() == first


def test_an_answer_stands_in_its_passage(inputs: Inputs) -> None:
    made = list(readings(inputs, random.Random(1)))
    assert ("When was it opened?", "1932") in [(question, answer) for _, question, answer in made]
    assert "Test" not in [answer for _, _, answer in made]  # of Disfl-QA's test part
    for passage, _question, answer in made:
        assert answer in passage


def test_a_data_folder_without_its_files_is_one_line(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "fetch_all", lambda *_, **__: inputs.packages)
    monkeypatch.setattr("sys.argv", ["prepare.py", "--data", "nowhere", "--output", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^error: .*nowhere/eval/stsb/sts-dev\.tsv"):
        prepare.main()
