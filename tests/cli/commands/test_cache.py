"""`gritlite cache`: listing and removing graphs."""

import re

import click
import pytest
from click.testing import CliRunner

from gritlite.cli.commands import cache
from gritlite.errors import FileError
from gritlite.runtime.onnx import graph_cache
from gritlite.runtime.onnx.forms import Form
from tests.runtime.onnx.preparing import prepared

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


@pytest.mark.parametrize("arguments", [(), ("model.gguf", "--all")])
def test_removal_needs_to_know_what(arguments):
    with pytest.raises(click.UsageError, match="name a model, or pass --all"):
        run("remove", *arguments)
