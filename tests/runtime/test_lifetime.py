"""When a model's memory is freed, and what a forked process may do with it."""

import gc
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from gritlite import GritLM
from gritlite.runtime.instruments import Observer
from gritlite.runtime.llama import MatrixInput
from gritlite.runtime.scorer import Scorer


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory map of Linux")
@pytest.mark.parametrize("used", ["loaded", "embedded", "answer", "scorer", "observer"])
def test_a_model_that_is_dropped_is_freed(tiny_path: Path, tmp_path: Path, used: str) -> None:
    path = tmp_path / "dropped.gguf"
    path.write_bytes(tiny_path.read_bytes())
    model = GritLM(path, threads=1)
    kept: list[object] = []
    if used == "embedded":
        model.encode(["a text"])
        model.generate("words", max_tokens=2)
    elif used == "answer":
        answer = model.generate("words", stream=True, temperature=1.0)
        next(answer)
        kept.append(answer)
    elif used == "scorer":
        kept.append(Scorer(model))
        Scorer(model).score_text("a", " text")
    elif used == "observer":
        seen: list[MatrixInput] = []
        kept.append(Observer(model, seen.append, attention="causal", pass_tokens=64))
    assert is_mapped(path)
    kept.append(kept)  # a cycle, as in frames of a program
    del model, kept
    if used == "answer":
        del answer
    gc.collect()
    assert not is_mapped(path)


def test_what_is_dropped_is_freed_without_the_garbage_collector(tiny_path: Path) -> None:
    """Gigabytes must not wait for it."""
    gc.collect()
    gc.disable()
    try:
        model = GritLM(tiny_path, threads=1)
        model.encode(["a text"])
        answer = model.generate("words", stream=True)
        next(answer)
        dropped = [weakref.ref(model), weakref.ref(answer)]
        del model, answer
        assert [each() for each in dropped] == [None, None]
    finally:
        gc.enable()


def is_mapped(path: Path) -> bool:
    return str(path) in Path("/proc/self/maps").read_text()


FORKED = """
import os, signal, sys
from gritlite import GritLM, UsageError

model = GritLM({path!r}, threads=2)
before = model.encode(["word " * 100] * 4)
answer = model.generate("words", stream=True)
stream = model.encode_stream(["word"])
attempts = [
    lambda: model.encode(["a text"]), lambda: model.generate("words"), lambda: next(answer),
    lambda: next(stream), lambda: model.tokenize("a"), lambda: model.document_state("a"),
    lambda: model.prefix_state("a"), lambda: model.clear_cache(),
]
child = os.fork()
if child == 0:
    signal.alarm(20)
    for attempt in attempts:
        try:
            attempt()
        except UsageError as error:
            print(str(error).split(":")[0].replace(str(os.getppid()), "PARENT"))
    model.close()
    del model, answer, stream, attempts
    try:
        GritLM({path!r}, threads=2)
    except UsageError as error:
        print(str(error).split(",")[0])
    sys.exit(0)
_, status = os.waitpid(child, 0)
print(status, (model.encode(["word " * 100] * 4) == before).all())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_is_refused(tiny_path: Path) -> None:
    script = FORKED.format(path=str(tiny_path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    refused = "the model was loaded in process PARENT, of which this one is a fork"
    own = "llama.cpp has run with several threads in a process of which this one is a fork"
    assert lines == [refused] * 8 + [own, "0 True"], done.stderr


def test_closing_goes_on_after_an_interruption(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = GritLM(tiny_path, threads=1)
    model.encode(["a text"])
    closed: list[object] = []

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model._generator, "close", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.close()
    monkeypatch.setattr(model.engine.weights, "_free", lambda: closed.append("weights"))
    model.close()
    assert closed == ["weights"]


def test_an_observer_is_not_closed_by_its_own_watcher(tiny_model: GritLM) -> None:
    def watch(_seen: MatrixInput) -> None:
        observer.close()

    observer = Observer(tiny_model, watch, attention="causal", pass_tokens=64)
    failures: list[str] = []

    def run() -> None:
        try:
            observer.run([[1, 2]])
        except Exception as error:
            failures.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert failures == ["an observer cannot be closed while it runs: close it after `run`"]
    observer.close()
