"""`gritlite eval`: the table and the report for a tiny model."""

import json
import re

import click
import pytest

from gritlite.cli.commands.eval import command
from gritlite.cli.commands.eval_rag import command as rag
from gritlite.cli.commands.eval_table import ScoreTable
from gritlite.errors import FormatError, InputTooLongError, OutputExistsError, UsageError
from gritlite.eval import clustering
from gritlite.eval.encoder import GritEncoder
from gritlite.eval.report import EvaluationReport, ModelFile, read_report
from gritlite.eval.sts import STS
from gritlite.eval.task import Score
from gritlite.runtime.model import GritLM
from tests.cli.in_process import invoke

PAIRS = [(5, "hello world", "hello you"), (2, "a vector", "the law"), (1, "red " * 9, "of it")]


@pytest.fixture
def sets(tmp_path):
    """One small test set of every kind."""
    lines = [f"g\tf\ty\t1\t{score}\t{a}\t{b}\n" for score, a, b in PAIRS]
    (tmp_path / "pairs.tsv").write_text("".join(lines))
    (tmp_path / "intents").mkdir()
    for part in ("train", "test"):
        rows = "".join(f"{part} {i},{'ab'[i % 2]}\n" for i in range(12))
        (tmp_path / "intents" / f"{part}.csv").write_text("text,category\n" + rows)
    questions = [
        {"id": str(i), "question": f"where {i}", "answers": [{"text": "here"}]} for i in range(3)
    ]
    articles = [
        {"paragraphs": [{"context": f"here {i}", "qas": [q]}]} for i, q in enumerate(questions)
    ]
    (tmp_path / "squad.json").write_text(json.dumps({"data": articles}))
    choice = {"question": "what", "choices": ["this", "that"], "answer": 1}
    (tmp_path / "choices.jsonl").write_text(json.dumps(choice) + "\n")
    (tmp_path / "long.txt").write_text("hello a " * 400)
    return tmp_path


def run(model, *arguments):
    return invoke(command, model, *arguments).stdout


def test_every_kind_has_its_rows(tiny_path, sets, monkeypatch):
    monkeypatch.setattr(clustering, "DRAWN", 200)
    output = sets / "report.json"
    said = run(
        tiny_path,
        *("--sts", sets / "pairs.tsv", "--retrieval", sets / "squad.json"),
        *("--classification", sets / "intents", "--clustering", sets / "intents/test.csv"),
        *("--perplexity", sets / "long.txt", "--choice", sets / "choices.jsonl"),
        *("--exact-match", sets / "squad.json", "--passages", "none", "--passages", "state"),
        *("--json", output),
    )
    head, *rows = said.splitlines()
    assert head.split() == ["task", "measure", "value", "on"]
    report = read_report(output)
    assert len(rows) == len(report.scores)
    for row, score in zip(rows, report.scores, strict=True):
        assert row.startswith(score.task)
        assert f" {score.measure} " in row
        assert f" {score.value:.4f} " in row
    assert [score.measure for score in report.scores] == [
        *("Spearman", "nDCG@10", "recall@1", "recall@10", "recall@100", "accuracy", "v-measure"),
        *("perplexity", "accuracy", "accuracy by length", *("exact match", "F1") * 2),
    ]
    assert set(report.seconds) == {score.task for score in report.scores}
    assert report.model.name == tiny_path.name


def test_the_numbers_are_the_librarys(tiny_path, sets):
    output = sets / "report.json"
    options = ("--instruction", "sts=Find like=text", "--max-length", 8, "--truncate")
    with pytest.raises(InputTooLongError, match="the prompt alone has"):
        run(tiny_path, "--sts", sets / "pairs.tsv", *options)
    options = ("--instruction", "sts=Find like=text", "--max-length", 40, "--truncate")
    run(tiny_path, "--sts", sets / "pairs.tsv", *options, "--json", output)
    with GritLM(tiny_path, threads=1) as model:
        task = STS(sets / "pairs.tsv", instruction="Find like=text")
        encoder = GritEncoder(model, max_length=40, truncate=True)
        assert list(read_report(output).scores) == task.run(encoder, lambda *_: None)
    assert read_report(output).settings == {
        "instructions": {"sts": "Find like=text"},
        "max_length": 40,
        "truncate": True,
        "dimensions": None,
        "limit": None,
    }


def test_a_report_beside_itself_shows_no_change(tiny_path, sets):
    output = sets / "report.json"
    run(tiny_path, "--sts", sets / "pairs.tsv", "--json", output)
    said = run(tiny_path, "--sts", sets / "pairs.tsv", "--compare", output)
    head, row = said.splitlines()
    assert head.split() == ["task", "measure", "value", "reference", "change", "on"]
    assert re.search(r"(-?\d\.\d{4}) +\1 +\+0\.0000 +3$", row)


def test_wrong_calls_are_reported_before_the_model_is_loaded(sets):
    none = sets / "no model.gguf"
    with pytest.raises(click.UsageError, match="no test set"):
        run(none)
    with pytest.raises(click.BadParameter, match="expected TASK=WORDS with a task of sts"):
        run(none, "--instruction", "chat=hello")
    with pytest.raises(FormatError, match=r"squad\.json, line 1: 1 tab-separated columns"):
        run(none, "--sts", sets / "squad.json")
    with pytest.raises(UsageError, match=r"two test sets are called 'sts pairs\.tsv'"):
        run(none, "--sts", sets / "pairs.tsv", "--sts", sets / "pairs.tsv")
    with pytest.raises(OutputExistsError):
        run(none, "--sts", sets / "pairs.tsv", "--json", sets / "long.txt")
    with pytest.raises(FormatError, match="not a report"):
        run(none, "--sts", sets / "pairs.tsv", "--compare", sets / "squad.json")


def test_the_table_compares_only_what_is_comparable():
    reference = EvaluationReport(
        ModelFile("m", 1, "a"),
        {},
        {},
        (Score("sts a", "Spearman", 0.5, 10), Score("sts b", "Spearman", 0.5, 10)),
        {},
    )
    table = ScoreTable(["sts a", "sts b"], reference)
    scores = [
        Score("sts a", "Spearman", 0.25, 10, "a note"),
        Score("sts b", "Spearman", 0.25, 9, "a note"),
    ]
    assert table.header().split() == ["task", "measure", "value", "reference", "change", "on"]
    first, second = table.rows(scores).splitlines()
    assert first.split() == [
        *("sts", "a", "Spearman", "0.2500", "0.5000", "-0.2500", "10"),
        *("a", "note"),
    ]
    assert second.split() == ["sts", "b", "Spearman", "0.2500", "-", "-", "9"]
    assert len(table.header()) == len(second)


def test_names_do_not_drive_the_terminal():
    name = "sts \x1b[2J"
    assert "\x1b" not in ScoreTable([name]).rows([Score(name, "Spearman", 1.0, 1)])


def test_the_table_of_layouts(tiny_path, sets):
    output = sets / "rag.json"
    result = invoke(
        rag,
        tiny_path,
        sets / "squad.json",
        *("--cache", "document-then-query", "--cache", "exact", "--states", "q4_0"),
        *("-k", 2, "--recompute", 0, "--recompute", "all", "--long", 100, "--json", output),
    )
    head, *rows = result.stdout.splitlines()
    assert head.split()[:3] == ["layout", "states", "recomputed"]
    assert [row.split()[:3] for row in rows[1:]] == [
        ["exact", "q4_0", "0"],
        ["exact", "q4_0", "all"],
    ]
    scores = read_report(output).scores
    tasks = list(dict.fromkeys(score.task for score in scores))
    assert tasks == [
        "rag squad.json: document-then-query",
        "rag squad.json: exact, q4_0, 0",
        "rag squad.json: exact, q4_0, all",
    ]
    assert len(scores) == 6 + 4 + 2 * (7 + 4)


def test_options_before_rag_are_refused(sets):
    with pytest.raises(click.UsageError, match="put options after rag"):
        invoke(command, sets / "model.gguf", "rag", sets / "squad.json")
