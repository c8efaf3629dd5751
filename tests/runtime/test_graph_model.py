"""A model that a graph embeds with: what it loads, when, and what works with it."""

import gc
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gritlite import (
    CancelledError,
    ClosedError,
    DeviceError,
    EngineWarning,
    GritLM,
    MissingExtraError,
    UsageError,
)
from gritlite.modelfile.header import read_header
from gritlite.runtime import engine_choice
from gritlite.runtime.instruments import Observer
from gritlite.runtime.llama import MatrixInput
from gritlite.runtime.model_identity import ModelIdentity
from gritlite.runtime.onnx import choice, graph_cache, verdict
from gritlite.runtime.onnx.check import Measures
from gritlite.runtime.onnx.engine import GraphEngine
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.preparation import prepare
from gritlite.runtime.onnx.verdict import FormVerdict, Setting, Verdict
from tests.some_texts import some_texts
from tests.tiny_tokenizers import SENTENCES

DOCUMENT = "The inn was founded by Ada Brown in 1850. It stands on a hill and has nine rooms. "
GREEDY = {"temperature": 0, "max_tokens": 8}
READS_PROMPTS = engine_choice._reads_prompts  # which `exact_graph` replaces
WIDE = {"hidden": 512, "feed_forward": 1024, "layers": 4}


def mapped(path: Path, what: str = "Rss") -> int:
    """The bytes of a file that are in this process's memory."""
    total, of_file = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            of_file = line.endswith(str(path))
        elif of_file and line.startswith(f"{what}:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory map of Linux")
def test_embedding_alone_loads_no_weights_of_llama_cpp(exact_graph, tiny_file) -> None:
    path = tiny_file("llama-head-dim", **WIDE)
    with GritLM(path, threads=1) as model:
        model.encode(some_texts(20))
        assert model.embeds_with == "onnx-float32"
        embeddings = next(t.size for t in model.file.tensors if t.name == "token_embd.weight")
        weights = sum(t.size for t in model.file.tensors) - embeddings
        assert model._llama.made is None
        assert mapped(path) <= embeddings + 65_536 < weights
        model.generate("Once", **GREEDY)
        assert mapped(path, "Size") > weights
        assert model.graph_bytes > weights - embeddings - 65_536  # the output matrix has no part
    del model
    gc.collect()
    assert mapped(path, "Size") == 0


def test_without_a_graph_nothing_of_it_is_imported(tiny_path: Path) -> None:
    code = (
        "import sys; from gritlite import GritLM\n"
        f"with GritLM({str(tiny_path)!r}, threads=1, engine='llama') as model: model.encode('a')\n"
        "assert model.embeds_with == 'llama' and not model.graph_bytes\n"
        "sys.exit(any('onnx' in name or 'openvino' in name for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_llama_cpp_is_loaded_once_by_many_threads(exact_graph, tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1) as model, ThreadPoolExecutor(4) as threads:
        together = threading.Barrier(4)

        def engine(_: int) -> object:
            together.wait(10)
            return model.engine

        first, *others = threads.map(engine, range(4))
        assert all(each is first for each in others)


def test_tasks_alternate(exact_graph, tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1) as model, GritLM(tiny_path, engine="llama") as llama:
        before = model.encode(SENTENCES)
        assert model.generate("Once", **GREEDY) == llama.generate("Once", **GREEDY)
        assert np.array_equal(model.encode(SENTENCES), before)
        assert (before * llama.encode(SENTENCES)).sum(axis=1).min() > 0.99999
        assert model.evaluated == llama.evaluated


def test_a_state_of_the_graph_is_read_by_llama_cpp(exact_graph, tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1) as model, GritLM(tiny_path, engine="llama") as llama:
        ours, theirs = model.document_state(DOCUMENT), llama.document_state(DOCUMENT)
        assert (ours.ids, ours.head, ours.model) == (theirs.ids, theirs.head, theirs.model)
        for one, other in zip(
            (*ours.key_values.keys, *ours.key_values.values),
            (*theirs.key_values.keys, *theirs.key_values.values),
            strict=True,
        ):
            np.testing.assert_allclose(one, other, rtol=5e-3, atol=5e-3)
        expected = llama.generate(" Who?", document=theirs, **GREEDY)
        assert model.generate(" Who?", document=ours, **GREEDY) == expected
        assert llama.generate(" Who?", document=ours, **GREEDY) == expected


def test_an_exact_graph_reads_long_prompts(
    exact_graph, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    open_prefill = GraphEngine.open_prefill

    def counted(self: GraphEngine, before: object, tokens: int) -> object:
        opened.append(tokens)
        return open_prefill(self, before, tokens)

    monkeypatch.setattr(GraphEngine, "open_prefill", counted)
    prompt = "word " * 80
    with GritLM(tiny_path, threads=1) as model, GritLM(tiny_path, engine="llama") as llama:
        expected = llama.generate(prompt, **GREEDY)
        assert opened == []
        assert model.generate(prompt, **GREEDY) == expected
        assert opened == [len(model.prompt_tokens(prompt)) - 1]


@pytest.mark.parametrize(("speed", "reads"), [(1.14, False), (1.16, True)])
def test_prompts_are_read_where_the_graph_was_measured_faster(
    exact_graph, tiny_path: Path, monkeypatch: pytest.MonkeyPatch, speed: float, reads: bool
) -> None:
    monkeypatch.setattr(engine_choice, "_reads_prompts", READS_PROMPTS)
    form = FormVerdict(Form("onnx", "float32"), "1", 0, Measures(40, 1, 1, speed, 1))
    known = {Setting(1, "auto"): Verdict(Setting(1, "auto"), (form,))}
    monkeypatch.setattr(verdict, "known", lambda _, setting: known.get(setting))
    with GritLM(tiny_path, threads=1) as model, GritLM(tiny_path, threads=2) as other:
        assert (model._generator._prefill_engine is not None) is reads
        assert other._generator._prefill_engine is None


def test_a_graph_reads_prompts_of_answers_decoded_together_only_by_name(
    exact_graph, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GritLM(tiny_path, threads=1, parallel=2) as model:  # the fixture names the engine
        assert model._generator._prefill_engine is not None
    graph = prepare(read_header(tiny_path), Form("onnx", "float32"), threads=1)
    monkeypatch.setattr(engine_choice, "_known", lambda *_: graph)
    monkeypatch.setenv("GRITLITE_ENGINE", "auto")
    for parallel, reads in ((1, True), (2, False)):
        with GritLM(tiny_path, threads=1, parallel=parallel) as model:
            assert model.embeds_with == "onnx-float32"
            assert (model._generator._prefill_engine is not None) is reads


def test_errors_of_llama_cpp_come_when_it_is_needed(exact_graph, tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1, gpu_layers=3) as model:
        model.encode("a")
        for _ in range(2):
            with pytest.raises(DeviceError, match="3 GPU layers asked for"):
                model.generate("Once", **GREEDY)
        model.encode("a")


def test_an_observer_loads_llama_cpp(exact_graph, tiny_path: Path) -> None:
    seen: list[MatrixInput] = []
    with GritLM(tiny_path, threads=1) as model:
        observer = Observer(model, seen.append, attention="causal", pass_tokens=64)
        observer.run([[1, 2, 3]])
        observer.close()
    assert seen


def test_a_closed_model_loads_nothing(exact_graph, tiny_path: Path) -> None:
    model = GritLM(tiny_path, threads=1)
    model.encode("a")
    model.close()
    for use in (
        lambda: model.engine,
        lambda: model.encode("a"),
        lambda: model.generate("a"),
        lambda: model.clear_cache(),
    ):
        with pytest.raises(ClosedError):
            use()
    model.close()


def test_a_job_is_cancelled_within_a_pass(exact_graph, tiny_file) -> None:
    path = tiny_file("llama-head-dim", context=8192, **WIDE)
    cancel = threading.Event()
    with GritLM(path, threads=1) as model:
        text = "word " * (model.max_length // 6)
        threading.Timer(0.2, cancel.set).start()
        with pytest.raises(CancelledError):
            model.encode([text], max_length=None, cancel=cancel)  # of one pass
        model.encode("a")


def test_edited_weights_need_llama_cpp(monkeypatch, exact_graph, tiny_path: Path) -> None:
    with pytest.raises(UsageError, match=r"weights are edited in llama\.cpp"):
        GritLM(tiny_path, threads=1, editable=True, engine="onnx")
    monkeypatch.setenv("GRITLITE_ENGINE", "auto")
    with GritLM(tiny_path, threads=1, editable=True) as model:
        assert model.embeds_with == "llama"


def test_auto_takes_a_prepared_graph_that_passed(
    exact_graph, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GritLM(tiny_path, threads=1) as model:  # prepares it
        fingerprint = model.fingerprint
    monkeypatch.setenv("GRITLITE_ENGINE", "auto")
    monkeypatch.setattr(ModelIdentity, "known", lambda _: fingerprint)
    found = choice.Choice(Form("onnx", "float32"))
    monkeypatch.setattr(choice, "known_choice", lambda *_, **__: found)
    with GritLM(tiny_path, threads=1) as model:
        assert model.embeds_with == "onnx-float32"
    monkeypatch.setattr(choice, "known_choice", lambda *_, **__: choice.Choice(None))
    with GritLM(tiny_path, threads=1) as model:
        assert model.embeds_with == "llama"


def test_auto_without_its_runtime_is_llama_cpp(
    exact_graph, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise MissingExtraError("onnxruntime", "onnx", "the engine onnx")

    monkeypatch.setattr(choice, "known_choice", missing)
    monkeypatch.setattr(engine_choice, "_prepared", missing)
    with pytest.raises(MissingExtraError):
        GritLM(tiny_path, threads=1, engine="onnx")
    monkeypatch.setenv("GRITLITE_ENGINE", "auto")
    with pytest.warns(EngineWarning, match=r"embedded by llama\.cpp, as its graph cannot be used"):
        model = GritLM(tiny_path, threads=1)
    assert model.embeds_with == "llama"
    model.close()


def test_names_that_do_not_exist(tiny_path: Path, monkeypatch) -> None:
    with pytest.raises(UsageError, match="engine is 'onxx': expected one of auto, llama, onnx"):
        GritLM(tiny_path, engine="onxx")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="precision is 'high': expected 'exact', 'fast' or None"):
        GritLM(tiny_path, precision="high")  # type: ignore[arg-type]
    monkeypatch.setenv("GRITLITE_ENGINE", "tensorrt")
    with pytest.raises(UsageError, match="GRITLITE_ENGINE is 'tensorrt'"):
        GritLM(tiny_path)


FORKED = """
import os, signal, sys
from gritlite import GritLM, UsageError
from gritlite.runtime import engine_choice
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.preparation import prepare

form = Form("onnx", "float32")
engine_choice._prepared = lambda file, options, *_: prepare(file, form, threads=2)

model = GritLM({path!r}, threads=2)
before = model.encode(["word " * 100] * 4)
child = os.fork()
if child == 0:
    signal.alarm(20)
    for attempt in (lambda: model.encode(["a"]), lambda: model.engine, lambda: model.generate("a")):
        try:
            attempt()
        except UsageError as error:
            print("refused" if "of which this one is a fork" in str(error) else error)
    model.close()
    del model
    with GritLM({path!r}, threads=2) as own:
        print((own.encode(["word " * 100] * 4) == before).all())
    sys.stdout.flush()
    os._exit(0)  # as multiprocessing's children end; ONNX Runtime waits for ever in exit()
_, status = os.waitpid(child, 0)
print(status, (model.encode(["word " * 100] * 4) == before).all())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process(exact_graph, tiny_path: Path) -> None:
    script = FORKED.format(path=str(tiny_path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == ["refused"] * 3 + ["True", "0 True"], done.stderr


def test_a_graph_that_the_runtime_refuses_is_made_again(tiny_path, cache_folder, monkeypatch):
    """As OpenVINO refuses one that was packed for another processor."""
    form = Form("openvino", "float32")
    monkeypatch.setattr(
        engine_choice,
        "_prepared",
        lambda file, options, *_: prepare(file, form, threads=options.threads),
    )
    with GritLM(tiny_path, engine="openvino") as model:
        before = model.encode(["one text"])
        graph = graph_cache.find(model.fingerprint, form)
    for name, size in graph.sizes.items():
        (graph.path / name).write_bytes(b"?" * size)
    with GritLM(tiny_path, engine="openvino") as model:
        np.testing.assert_array_equal(model.encode(["one text"]), before)
