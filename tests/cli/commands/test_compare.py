"""`gritlite compare` in a child process."""

import json
import subprocess
import sys

import pytest

from gritlite.convert import convert
from tests.tiny import make_checkpoint


def run(*arguments):
    line = [sys.executable, "-m", "gritlite", "compare", *map(str, arguments), "--threads", "1"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    checkpoint = make_checkpoint(folder / "checkpoint")
    for type in ("f32", "q8_0", "q4_0"):
        convert(checkpoint, folder / f"{type}.gguf", type)
    return [folder / f"{type}.gguf" for type in ("f32", "q8_0", "q4_0")]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text("\n\n".join(f"hello number {i}, and a word more" for i in range(60)))
    return path


def test_a_table_and_both_reports(files, text, tmp_path):
    pairs = tmp_path / "pairs.tsv"
    rows = [(5, "hello world", "hello you"), (2, "a vector", "the law"), (1, "red", "of it")]
    pairs.write_text("".join(f"g\tf\ty\t1\t{score}\t{a}\t{b}\n" for score, a, b in rows))
    outputs = ["--json", tmp_path / "r.json", "--html", tmp_path / "r.html"]
    status, out, err = run(*files, "--texts", text, "--chunks", 1, "--sts", pairs, *outputs)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["f32.gguf", "q8_0.gguf", "q4_0.gguf"]
    assert lines[-2].split()[:2] == ["embedding", "reference"]
    assert any(line.startswith("sts pairs.tsv: Spearman") for line in lines)
    assert len(json.loads((tmp_path / "r.json").read_text())["candidates"]) == 2
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")


def test_bounds_that_are_broken(files, text):
    status, out, err = run(*files, "--texts", text, "--chunks", 1, "--require", "cosine=0.999")
    assert status == 1
    assert out.splitlines()[0].split() == ["f32.gguf", "q8_0.gguf", "q4_0.gguf"]
    assert err.startswith("gritlite: q4_0.gguf: cosine is 0.")
    assert len(err.splitlines()) == 1
    bounds = "cosine=0.5,kl=5"
    assert run(*files, "--texts", text, "--chunks", 1, "--require", bounds)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--require", "cosine"], "'cosine' has no number"),
        (["--texts", "none.txt"], "cannot read none.txt"),
        (["--sts", "none.tsv"], "cannot read none.tsv"),
        (["--json", "nowhere/r.json"], "the folder nowhere does not exist"),
        (["none.gguf"], "none.gguf does not exist"),
        (["/dev/zero"], "/dev/zero is a device: name a file"),
    ],
)
def test_bad_input(arguments, said, files):
    status, out, err = run(*files, *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
