"""`gritlite cache`: listing and removing graphs."""

import re

import click
import pytest
from click.testing import CliRunner

from gritlite.cli.commands import cache
from gritlite.errors import ArchitectureError, FileError, MissingExtraError
from gritlite.runtime.onnx import choice, graph_cache, packages
from gritlite.runtime.onnx.forms import Form
from tests.runtime.onnx.fake_bench import Clock, FakeBench
from tests.runtime.onnx.preparing import prepared
from tests.sample_gguf import BPE, write_model

pytestmark = pytest.mark.usefixtures("cache_folder")


def run(*arguments):
    """Run `gritlite cache` in this process; errors are raised here."""
    result = CliRunner().invoke(cache.command, list(map(str, arguments)), standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


def test_no_graphs():
    listed = run("list")
    assert (listed.stdout, "there are no graphs" in listed.stderr) == ("", True)
    assert run("remove", "--all").stdout == ""


def test_graphs_from_their_listing_to_their_removal(tiny_file):
    paths = [tiny_file(case) for case in ("llama-tied", "qwen2")]
    for path in paths:
        prepared(path)
    blocks = prepared(paths[0], Form("onnx", "blocks"))
    lines = run("list").stdout.splitlines()
    assert len(lines) == 3
    for line, path in zip(lines, [paths[0], *paths], strict=True):
        assert re.fullmatch(rf"{path} +onnx-(blocks|float32)  0\.\d MiB", line)
    (blocks.path / "weights.bin").unlink()
    assert run("list").stdout.count("will be made again") == 1
    removed = run("remove", paths[0]).stdout.splitlines()
    assert [line.split(",")[0] for line in removed] == [
        f"{paths[0]}: onnx-blocks removed",
        f"{paths[0]}: onnx-float32 removed",
    ]
    with pytest.raises(FileError, match=r"there is no graph of .*: see `gritlite cache list`"):
        run("remove", paths[0])
    assert len(run("list").stdout.splitlines()) == 1
    assert run("remove", "--all").stdout.startswith(f"{paths[1]}: onnx-float32 removed")
    assert graph_cache.entries() == []


def test_a_model_that_is_gone(tiny_file, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_file("qwen2").read_bytes())
    prepared(path)
    path.unlink()
    assert run("remove", path).stdout.startswith(f"{path}: onnx-float32 removed")


def test_engines_are_compared_again(tiny_file, tmp_path, monkeypatch):
    versions = {"onnx": "1.20", "onnxruntime": "1.0"}
    monkeypatch.setattr(packages, "_version", versions.get)
    path = tmp_path / "new.gguf"
    path.write_bytes(tiny_file("qwen2").read_bytes())
    clock = Clock()
    for speed, setting in ((3000, ()), (4000, ()), (5000, ("--threads", 7))):
        bench = FakeBench(clock, onnx_int8={"speed": 900}, onnx_float32={"speed": speed})
        monkeypatch.setattr(choice, "FileWorkbench", lambda *_, bench=bench: bench)
        shown = run("check", path, *setting).stdout
        assert bench.prepared == ["onnx-int8", "onnx-float32"]
        assert re.search(rf"onnx-float32: passed\n +{speed / 1000:.2f} times llama", shown)
    assert re.search(r"engine, 7 threads +onnx-float32\n", shown)
    assert "4.00 times llama.cpp's speed" in shown  # with the usual number of threads
    assert "3.00 times" not in shown
    versions.clear()
    with pytest.raises(MissingExtraError, match=r'pip install "gritlite\[onnx\]"'):
        run("check", path)


def test_engines_are_not_compared_for_layers_of_another_kind(tmp_path):
    path = write_model(tmp_path / "other.gguf", BPE, arch="dream")
    with pytest.raises(ArchitectureError, match="dream"):
        run("check", path)


@pytest.mark.parametrize("arguments", [(), ("model.gguf", "--all")])
def test_removal_needs_to_know_what(arguments):
    with pytest.raises(click.UsageError, match="name a model, or pass --all"):
        run("remove", *arguments)
