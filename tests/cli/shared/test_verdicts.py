"""What `inspect` and `doctor` show of the engines that embed with a model."""

import json

import pytest
from click.testing import CliRunner

from gritlite.cli.commands.inspect import command
from gritlite.modelfile.header import read_header
from gritlite.runtime.model_identity import ModelIdentity
from gritlite.runtime.onnx import graph_cache, verdict
from gritlite.runtime.onnx.check import Measures
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.verdict import FormVerdict, Setting, Verdict
from gritlite.system import cache
from tests.runtime.onnx.fake_bench import keep_fingerprint
from tests.sample_gguf import BPE, write_model

INT8 = FormVerdict(Form("onnx", "int8"), "1.0", 2**20, Measures(40, 0.9985, 0.9951, 4.5, 3.25))
BLOCKS = FormVerdict(Form("onnx", "blocks"), "1.0", 2**21, Measures(40, 0.9997, 0.9996, 1.05, 2))
CRASHED = FormVerdict(Form("openvino", "blocks"), "2.0", failure="no kernel")


@pytest.fixture
def path(tmp_path, cache_folder):
    return write_model(tmp_path / "m.gguf", BPE)


def keep(path, *forms, threads=2, gpu_layers="auto"):
    file = read_header(path)
    setting = Setting(threads, gpu_layers)
    verdict.keep(ModelIdentity(file).fingerprint(), Verdict(setting, forms))
    keep_fingerprint(file)


def shown(*arguments):
    result = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_inspect_shows_the_verdict(path):
    keep(path, INT8, BLOCKS, CRASHED)
    text = shown(path)
    assert "engine, 2 threads         onnx-int8; exact: llama" in text
    assert (
        "4.50 times llama.cpp's speed, 3.25 for a short text alone; cosine 0.9985, least 0.9951 of "
        "40 texts" in text
    )
    assert "onnx-int8: passed" in text
    assert "onnx-blocks: it has 1.05 times llama.cpp's speed" in text
    assert "openvino-blocks: no kernel" in text


def test_inspect_as_json(path):
    keep(path, INT8, CRASHED)
    (found,) = json.loads(shown(path, "--json"))["engines"]
    assert (found["fast"], found["exact"]) == ("onnx-int8", "llama")
    assert (found["threads"], found["gpu_layers"]) == (2, "auto")
    int8, crashed = found["forms"]
    assert int8["measures"]["least_cosine"] == 0.9951
    assert (int8["bytes"], int8["graph"], int8["problem"]) == (2**20, None, "")
    assert (crashed["measures"], crashed["problem"]) == (None, "no kernel")


def test_where_a_graph_is_kept(path, monkeypatch):
    keep(path, INT8)
    folder = cache.folder("graphs", "x")
    kept = graph_cache.GraphFolder(folder, INT8.form, path, "", {"a": 2**20})
    monkeypatch.setattr(graph_cache, "find", lambda *_: kept)
    assert f"1.0 MiB in {folder}" in shown(path)
    (found,) = json.loads(shown(path, "--json"))["engines"]
    assert found["forms"][0]["graph"] == str(folder)


def test_each_setting_has_its_line(path):
    keep(path, INT8)
    keep(path, BLOCKS, threads=1, gpu_layers=0)
    text = shown(path)
    assert "engine, 2 threads " in text
    assert "engine, 1 thread, GPU layers 0  llama" in text


def test_nothing_is_shown_where_nothing_was_measured(path):
    assert "engine" not in shown(path)
    assert json.loads(shown(path, "--json"))["engines"] == []
