"""What is measured of matrices' inputs, compared with an observer and with the graph itself."""

import threading

import numpy as np
import pytest

from gritlite.errors import CancelledError
from gritlite.modelfile.header import read_header
from gritlite.runtime.instruments import Observer
from gritlite.runtime.llama import MatrixInput
from gritlite.runtime.model import GritLM
from gritlite.runtime.onnx import input_maxima
from gritlite.runtime.onnx.input_maxima import measure_inputs
from gritlite.runtime.sample_texts import calibration_prose, paragraphs
from tests.runtime.onnx.preparing import graph_states, prepared

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_inputs_are_those_of_an_observer_in_both_modes(tiny_path, monkeypatch):
    monkeypatch.setattr(input_maxima, "calibration_chats", list)
    columns = measure_inputs(read_header(tiny_path), threads=1)
    largest: dict[str, np.ndarray] = {}

    def watch(seen: MatrixInput) -> None:
        name = seen.tensor.removesuffix(".weight")
        found = np.abs(seen.inputs).max(axis=0)
        largest[name] = np.maximum(largest.get(name, 0), found)

    prose = paragraphs(calibration_prose())[::3]
    with GritLM(tiny_path, threads=1) as model:
        with Observer(model, watch, attention="bidirectional", pass_tokens=512) as observer:
            for text in prose:
                observer.run([model.document_tokens(text).ids[:512].tolist()])
        with Observer(model, watch, attention="causal", pass_tokens=512) as observer:
            ids = model.tokenize("\n\n".join(prose))
            for start in range(0, len(ids), 512):
                observer.run([ids[start : start + 512]])
    assert columns.keys() == largest.keys()
    assert len(largest) == 14
    for name, values in largest.items():
        np.testing.assert_allclose(columns[name], values, rtol=0.01)


def test_every_expert_has_maxima(tiny_file):
    columns = measure_inputs(read_header(tiny_file("mixtral")), threads=1)
    assert columns["blk.0.ffn_down_exps"].shape == (4, 96)
    assert columns["blk.1.ffn_gate_exps"].shape == (4, 64)
    assert columns["blk.0.ffn_gate_inp"].shape == (64,)
    assert all((values > 0).all() for values in columns.values())


def test_an_expert_without_tokens_takes_the_maxima_of_the_others():
    columns = input_maxima.Columns()
    inputs = np.array([[1, -5], [2, 3], [-4, 1]], np.float32)
    columns.add(MatrixInput("blk.0.ffn_up_exps.weight", inputs, 3, np.array([0, 2, 0])))
    found = columns.found()["blk.0.ffn_up_exps"]
    np.testing.assert_array_equal(found, [[4, 5], [4, 5], [2, 3]])


@pytest.mark.parametrize("case", ["llama-biases", "mixtral", "qwen2"])
def test_smoothing_changes_no_output(tiny_file, case):
    path = tiny_file(case)
    plain = prepared(path)
    before, kept = graph_states(path, plain, "causal")
    (plain.path / "graph.json").unlink()
    graph = prepared(path, maxima=measure_inputs(read_header(path), threads=1))
    after, kept_after = graph_states(path, graph, "causal")
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    assert not np.array_equal(after, before)
    for ours, theirs in zip(kept_after, kept, strict=True):
        for mine, other in zip(ours.values, theirs.values, strict=True):
            np.testing.assert_allclose(mine.astype(np.float32), other, rtol=2e-3, atol=2e-3)


def test_progress_and_cancel(tiny_path):
    steps: list[tuple[int, int]] = []
    measure_inputs(read_header(tiny_path), threads=1, progress=lambda *step: steps.append(step))
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert steps[-1][0] == steps[-1][1] == steps[0][1]
    assert len(steps) > 5
    cancel = threading.Event()
    seen: list[int] = []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        cancel.set()

    with pytest.raises(CancelledError):
        measure_inputs(read_header(tiny_path), threads=1, progress=progress, cancel=cancel)
    assert len(seen) == 1


def test_a_template_that_takes_no_chat_does_not_matter(tiny_path, monkeypatch):
    file = read_header(tiny_path)
    template = {"tokenizer.chat_template": "{{ raise_exception('no') }}"}
    monkeypatch.setattr(input_maxima, "calibration_chats", lambda: [[{"role": "user"}]])
    changed = type(file)(**{**vars(file), "metadata": {**file.metadata, **template}})
    assert measure_inputs(changed, threads=1)
