"""The form for a GPU: when it is chosen, what it computes on a processor instead, its errors."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gritlite import DeviceError, EngineWarning, GritLM, OutOfMemoryError, prepare_engine
from gritlite.graph.network import network_of
from gritlite.modelfile.header import GGUFFile, read_header
from gritlite.runtime import engine_choice
from gritlite.runtime.engine import KeyValues
from gritlite.runtime.llama.engine import LlamaEngine
from gritlite.runtime.onnx import choice, device, onnx_session
from gritlite.runtime.onnx.choice import Choice, candidates, choose
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.graph_cache import GraphFolder
from gritlite.runtime.onnx.onnx_files import WEIGHTS
from gritlite.runtime.onnx.onnx_session import GRAPHS, OnnxSession
from gritlite.runtime.onnx.opening import open_graph
from gritlite.runtime.onnx.preparation import weight_bytes
from gritlite.runtime.onnx.verdict import Setting
from tests.runtime.onnx.fake_bench import Clock, FakeBench
from tests.runtime.onnx.preparing import prepared
from tests.some_texts import some_texts

pytest.importorskip("onnxruntime")
FLOAT16 = Form("onnx", "float16")
SLOW = {"speed": 900}
GREEDY = {"temperature": 0, "max_tokens": 8}
DOCUMENT = "The inn was founded by Ada Brown in 1850. It stands on a hill and has nine rooms. "
IDS = np.random.default_rng(0).integers(3, 400, 600).astype(np.int32)


@pytest.fixture
def gpu_form(gpu: None, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form for a GPU is the only one that may suit."""
    monkeypatch.setattr(choice, "candidates", lambda *_: (FLOAT16,))


@pytest.fixture
def file(tiny_path: Path) -> GGUFFile:
    return read_header(tiny_path)


def names(forms: Sequence[Form]) -> list[str]:
    return [form.name for form in forms]


def chosen(file: GGUFFile, layers: int | str, **options: object) -> tuple[Choice, list[str]]:
    """The choice where the form for a GPU is ten times as fast, and the forms that were tried."""
    forms = {"onnx_int8": SLOW, "onnx_float32": SLOW, "openvino_float32": SLOW}
    bench = FakeBench(Clock(), **forms, onnx_float16={"speed": 10_000})
    found = choose(file, Setting(1, layers), bench=bench, **options)
    return found, [name for name in bench.prepared if name != "openvino-bfloat16"]


def test_it_may_suit_where_all_layers_may_be_on_a_gpu(gpu, file):
    layers = network_of(file).layers
    for wanted in ("auto", "all", layers, layers + 1):
        assert candidates(file, wanted)[0] == FLOAT16
    for unwanted in (0, layers - 1):
        assert FLOAT16 not in candidates(file, unwanted)


def test_it_does_not_suit_without_the_package(file):
    assert FLOAT16 not in candidates(file, "all")


@pytest.mark.parametrize("precision", [None, "exact", "fast"])
def test_it_serves_each_precision(gpu, cache_folder, monkeypatch, file, precision):
    monkeypatch.setattr(choice, "_BFLOAT16", frozenset())
    found, _ = chosen(file, "auto", precision=precision)
    assert found.form == FLOAT16
    assert FLOAT16.is_exact


def test_all_layers_on_a_gpu_leave_no_other_form_of_the_runtime(gpu, cache_folder, file):
    assert chosen(file, "all", runtime="onnx") == (Choice(FLOAT16), ["onnx-float16"])


def test_memory_of_the_machine_does_not_matter(gpu_form, monkeypatch, file):
    monkeypatch.setattr(choice, "available_memory", lambda: 0)
    assert chosen(file, "auto")[0] == Choice(FLOAT16)


def test_a_gpu_that_cannot_be_used(cache_folder, monkeypatch, file):
    """The package is there, and its memory cannot be had: "auto" does without it."""
    monkeypatch.setattr(device, "GPU", replace(device.PROCESSOR, memory="cuda"))
    monkeypatch.setattr(choice, "_BFLOAT16", frozenset())
    found, tried = chosen(file, "auto", runtime="onnx")
    assert tried == ["onnx-int8", "onnx-float32"]
    assert found.form in (Form("onnx", "int8"), Form("onnx", "float32"))
    with pytest.raises(DeviceError, match=r"cannot use a GPU \(.*CUDA.*\): install the driver"):
        chosen(file, "all", runtime="onnx")


def test_a_package_that_is_not_for_gpus(cache_folder, tiny_path):
    with pytest.raises(DeviceError, match=r"gritlite\[onnx-gpu\].*gpu_layers 0"):
        GritLM(tiny_path, threads=1, engine="onnx", gpu_layers="all")


def test_a_provider_that_falls_back(gpu, monkeypatch, tmp_path, tiny_path):
    graph = prepared_in(tmp_path, monkeypatch, tiny_path)
    monkeypatch.setattr(device, "GPU", replace(device.GPU, provider="AzureExecutionProvider"))
    monkeypatch.setattr(device, "check_gpu", lambda: None)
    monkeypatch.setattr(
        onnx_session.onnxruntime.InferenceSession, "get_providers", lambda _: ["CPU"]
    )
    with pytest.raises(DeviceError, match="fell back to the processor"):
        open_graph(graph, read_header(tiny_path), threads=1)


def prepared_in(folder: Path, monkeypatch: pytest.MonkeyPatch, path: Path) -> GraphFolder:
    """The graph of a file, in a cache of its own."""
    monkeypatch.setenv("GRITLITE_CACHE", str(folder / "cache"))
    return prepared(path, FLOAT16)


def test_the_files_of_a_graph(gpu, cache_folder, tiny_path):
    graph = prepared(tiny_path, FLOAT16)
    assert set(graph.sizes) == {*GRAPHS.values(), WEIGHTS}
    written, told = graph.sizes[WEIGHTS], weight_bytes(read_header(tiny_path), FLOAT16)
    assert told <= written < 1.5 * told  # each tensor begins a page


def test_a_model_on_a_gpu(gpu_form, monkeypatch, tiny_path):
    """Through the check and the cache, by both ways of asking for it."""
    assert prepare_engine(tiny_path, engine="onnx", threads=1) == "onnx-float16"
    monkeypatch.setattr(engine_choice, "_reads_prompts", lambda *_: True)
    texts, prompt = some_texts(12), "word " * 80
    with GritLM(tiny_path, threads=1, engine="onnx") as model, llama(tiny_path) as theirs:
        assert model.embeds_with == "onnx-float16"
        assert model.embedding_engine.on_device
        ours = model.encode(texts)
        assert ours.dtype == np.float32
        assert (ours * theirs.encode(texts)).sum(axis=1).min() > 0.9999
        assert model.generate(prompt, **GREEDY) == theirs.generate(prompt, **GREEDY)
        state, expected = model.document_state(DOCUMENT), theirs.document_state(DOCUMENT)
        assert state.ids == expected.ids
        check_states(state.key_values, expected.key_values)
        asked = {"document": state, **GREEDY}
        assert theirs.generate(" Who?", **asked) == model.generate(" Who?", **asked)


def llama(path: Path) -> GritLM:
    return GritLM(path, threads=1, engine="llama")


def check_states(ours: KeyValues, theirs: KeyValues) -> None:
    for one, other in zip((*ours.keys, *ours.values), (*theirs.keys, *theirs.values), strict=True):
        assert one.dtype == other.dtype == np.float16
        np.testing.assert_allclose(one.astype(np.float32), other, rtol=0.01, atol=0.02)


@pytest.mark.parametrize("case", ["llama-head-dim", "mixtral", "qwen2-yarn"])
@pytest.mark.parametrize("begun", [0, 70])
def test_a_prompt_in_parts(gpu, monkeypatch, tmp_path, tiny_file, case, begun):
    """Its keys and values stay on the device, and copies of the new ones leave it."""
    path = tiny_file(case)
    graph = prepared_in(tmp_path, monkeypatch, path)
    engine = LlamaEngine(path, threads=1, gpu_layers=0)
    opened = engine.open_pass(len(IDS), "causal")
    engine_on_gpu = open_graph(graph, read_header(path), threads=1)
    try:
        _, (expected,) = opened.run([IDS], [0], return_states=True)
        before = part(expected, 0, begun) if begun else None
        prefill = engine_on_gpu.open_prefill(before, len(IDS))
        assert prefill.part_tokens > len(IDS)
        for first, last in ((begun, 300), (300, 301), (301, len(IDS))):
            check_states(prefill.evaluate(IDS[first:last]), part(expected, first, last))
        prefill.close()
    finally:
        engine_on_gpu.close()
        opened.close()
        engine.close()


def part(states: KeyValues, first: int, last: int) -> KeyValues:
    return KeyValues(
        tuple(each[first:last] for each in states.keys),
        tuple(each[first:last] for each in states.values),
    )


def test_out_of_its_memory(gpu_form, monkeypatch, tiny_path):
    assert prepare_engine(tiny_path, threads=1, engine="onnx") == "onnx-float16"

    def too_large(*_: object, **__: object) -> None:
        raise RuntimeError("Failed to allocate memory for requested buffer of size 117440512")

    monkeypatch.setattr(onnx_session.onnxruntime, "InferenceSession", too_large)
    with pytest.raises(OutOfMemoryError, match=r"on the GPU has too little .*gpu_layers 0"):
        GritLM(tiny_path, threads=1, engine="onnx")


def test_auto_goes_back_to_llama_where_it_does_not_fit(gpu_form, monkeypatch, file):
    graph = prepared(file.path, FLOAT16)

    def too_large(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA failure 2: out of memory ; expr=cudaMalloc((void**)&p, size)")

    monkeypatch.delenv(engine_choice.VARIABLE)
    monkeypatch.setattr(engine_choice, "_known", lambda *_: graph)
    monkeypatch.setattr(onnx_session.onnxruntime, "InferenceSession", too_large)
    with (
        pytest.warns(EngineWarning, match="embedded by llama.cpp.*on the GPU has too little"),
        GritLM(file.path, threads=1) as model,
    ):
        assert model.embeds_with == "llama"


def test_a_closed_session_ends_its_thread(gpu, monkeypatch, tmp_path, tiny_path):
    graph = prepared_in(tmp_path, monkeypatch, tiny_path)
    network = network_of(read_header(tiny_path))
    session = OnnxSession(graph.path, network, threads=1, on_gpu=True)
    session.close()
    assert session._sessions == {}
