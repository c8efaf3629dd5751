"""The choice with real engines: graphs are made, compared with llama.cpp, kept or removed."""

import pytest

from gritlite.modelfile.header import read_header
from gritlite.runtime.model_identity import ModelIdentity
from gritlite.runtime.onnx import graph_cache, verdict
from gritlite.runtime.onnx.choice import choose
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.verdict import Setting
from gritlite.system.locate import locate

pytest.importorskip("onnxruntime")
SETTING = Setting(1, 0)


def test_a_tiny_model(tiny_path, cache_folder):
    file = read_header(tiny_path)
    seen = []
    found = choose(file, SETTING, runtime="onnx", progress=lambda *each: seen.append(each))
    assert seen[-1] == (1000, 1000)
    assert seen == sorted(seen)
    fingerprint = ModelIdentity(file).fingerprint()
    int8, exact = verdict.known(fingerprint, SETTING).forms
    assert (int8.form, exact.form) == (Form("onnx", "int8"), Form("onnx", "float32"))
    assert exact.measures.least_cosine > 0.99999
    assert 0.9 < int8.measures.least_cosine < exact.measures.least_cosine
    assert min(int8.measures.speed, int8.measures.query_speed) > 0
    assert found.form in (int8.form, exact.form)
    assert found.form in {entry.graph.form for entry in graph_cache.entries()}
    for each in (int8, exact):
        if each.problem and each.form != found.form:
            assert graph_cache.find(fingerprint, each.form) is None


@pytest.mark.real
def test_the_default_model(monkeypatch, tmp_path):
    file = read_header(locate("default"))
    monkeypatch.setenv("GRITLITE_CACHE", str(tmp_path))
    choose(file, Setting(2, 0), runtime="onnx")
    int8, blocks = verdict.known(ModelIdentity(file).fingerprint(), Setting(2, 0)).forms
    # how many texts are compared depends on the machine's speed
    assert int8.measures.mean_cosine > 0.996
    assert int8.measures.least_cosine > 0.985
    assert blocks.disagreement == ""
