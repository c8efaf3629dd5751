"""Reports: what is written is read back; other files are refused."""

import hashlib
import json
from pathlib import Path

import pytest

from gritlite.errors import FileError, FormatError, UsageError
from gritlite.eval.report import (
    EvaluationReport,
    ModelFile,
    check_names,
    model_file,
    read_report,
    versions,
    write_report,
)
from gritlite.eval.task import Score, spread

REPORT = EvaluationReport(
    ModelFile("ä.gguf", 7, "ab"),
    versions(),
    {"limit": None},
    (Score("sts a", "Spearman", 0.25, 9, "2 of 18 texts cut to 4 tokens"),),
    {"sts a": 1.5},
)


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(REPORT, path)
    assert read_report(path) == REPORT
    assert json.loads(path.read_text("utf-8"))["scores"][0]["value"] == 0.25
    assert REPORT.date.endswith("+00:00")


def test_the_model_is_known_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    assert model_file(path) == ModelFile("model.gguf", 7, hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(FileError, match="cannot read"):
        model_file(tmp_path / "none")


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"model": 1}', '{"scores": [], "model": {}}', "3"]
)
def test_another_file_is_no_report(tmp_path: Path, content: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(FormatError, match="not a report of"):
        read_report(path)


def test_two_tasks_with_one_name_are_refused() -> None:
    check_names(["sts a", "sts b"])
    with pytest.raises(UsageError, match="two test sets are called 'sts a'"):
        check_names(["sts a", "sts b", "sts a"])


def test_a_limit_takes_items_from_all_over() -> None:
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread("abc", None) == spread("abc", 5) == ["a", "b", "c"]
    assert spread(range(7), 7) == list(range(7))
