"""Progress of a load, and its end before the end: by cancelling, an error, Ctrl-C, closing."""

import os
import signal
import sys
import threading
import time

import pytest

from gritlite import CancelledError, GritLM
from gritlite.runtime import model_probe
from gritlite.runtime.llama.library import C
from gritlite.runtime.llama.model_load import ModelLoad
from gritlite.runtime.trial import run_trial
from gritlite.system.watch import Watch
from tests.runtime.closing import close_meanwhile
from tests.sample_gguf import write_model


def loads(path):
    with GritLM(path, threads=1) as model:
        return model.encode("a").shape


def test_progress_goes_from_nothing_to_all_in_the_callers_thread(tiny_path):
    seen, threads = [], set()

    def progress(done, total):
        seen.append((done, total))
        threads.add(threading.get_ident())

    with GritLM(tiny_path, threads=1, progress=progress):
        assert seen[0] == (0, 1000)
        assert seen[-1] == (1000, 1000)
        assert seen == sorted(set(seen))
        assert threads == {threading.get_ident()}


def test_llama_cpp_tells_how_far_it_is(tiny_path, monkeypatch):
    shares, tell = [], ModelLoad._on_progress

    def listen(load, share, data):
        shares.append(share)
        return tell(load, share, data)

    monkeypatch.setattr(ModelLoad, "_on_progress", listen)
    GritLM(tiny_path, threads=1).close()
    assert shares == sorted(shares)
    assert (len(shares) > 3, shares[-1]) == (True, 1.0)


def test_an_event_that_is_set_already_ends_a_load(tiny_path):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        GritLM(tiny_path, threads=1, cancel=cancel)


def test_a_load_is_cancelled_in_the_middle(tiny_path, endless_load):
    cancel, seen = threading.Event(), []
    threading.Thread(target=lambda: endless_load.wait(60) and cancel.set()).start()
    with pytest.raises(CancelledError, match="loading the model was cancelled"):
        GritLM(tiny_path, threads=1, cancel=cancel, progress=lambda *step: seen.append(step[0]))
    assert seen in ([0], [0, 500])


def test_an_error_of_the_callback_ends_a_load_and_reaches_the_caller(tiny_path, endless_load):
    def progress(done, total):
        if done:
            raise ZeroDivisionError("the app's")

    with pytest.raises(ZeroDivisionError, match="the app's"):
        GritLM(tiny_path, threads=1, progress=progress)
    assert endless_load.is_set()


def test_an_error_of_the_last_call_frees_the_model(tiny_path, monkeypatch):
    freed, free = [], C.llama_model_free
    monkeypatch.setattr(C, "llama_model_free", lambda model: (freed.append(model), free(model)))

    def progress(done, total):
        if done == total:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        GritLM(tiny_path, threads=1, progress=progress)
    assert len(freed) == 1


def test_a_model_that_was_loaded_before_it_could_be_stopped_is_freed(tiny_path, monkeypatch):
    freed, free = [], C.llama_model_free
    monkeypatch.setattr(C, "llama_model_free", lambda model: (freed.append(model), free(model)))

    def late(load, share, data):
        while not load._stopped:
            time.sleep(0.005)
        return True

    monkeypatch.setattr(ModelLoad, "_on_progress", late)
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(CancelledError):
        GritLM(tiny_path, threads=1, cancel=cancel)
    assert len(freed) == 1


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_ctrl_c_ends_a_load(tiny_path, endless_load):
    def progress(done, total):
        if done:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        GritLM(tiny_path, threads=1, progress=progress)


def test_the_next_load_works(tiny_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ModelLoad, "_on_progress", lambda *_: False)
        with pytest.raises(Exception, match="cannot load"):
            GritLM(tiny_path, threads=1)
    assert loads(tiny_path)


def test_a_trial_in_a_child_is_cancelled(tmp_path):
    pid = tmp_path / "pid"
    code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    def waiting():
        if pid.exists() and pid.read_text():
            raise CancelledError("enough")

    with pytest.raises(CancelledError, match="enough"):
        run_trial([sys.executable, "-c", code], timeout=60, waiting=waiting)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_trying_an_unknown_model_is_cancelled(tmp_path, cache_folder, monkeypatch):
    path, begun = write_model(tmp_path / "model.gguf", arch="stablelm"), tmp_path / "begun"
    code = f"import time; open({str(begun)!r}, 'w').close(); time.sleep(60)"
    monkeypatch.setattr(model_probe, "module_command", lambda _: (sys.executable, "-c", code))
    cancel = threading.Event()

    def watch():
        while not begun.exists():
            time.sleep(0.005)
        cancel.set()

    threading.Thread(target=watch).start()
    with pytest.raises(CancelledError):
        GritLM(path, threads=1, cancel=cancel)
    assert begun.exists()


def test_what_generates_is_loaded_with_progress(tiny_path, exact_graph):
    seen = []
    with GritLM(tiny_path, threads=1) as model:
        assert model._llama.made is None
        model.load(progress=lambda done, total: seen.append((done, total)))
        assert model._llama.made is not None
        assert (seen[0], seen[-1]) == ((0, 1000), (1000, 1000))


def test_closing_ends_a_load_that_an_answer_needs(tiny_path, exact_graph, endless_load):
    model = GritLM(tiny_path, threads=1)
    close_meanwhile(model, lambda model: model.generate("a", max_tokens=1), endless_load)


def test_a_watch_counts_upwards_and_leaves_the_end_to_the_end():
    seen = []
    watch = Watch("it", lambda *step: seen.append(step[0]))
    for share in (0, 0.5, 0.2, 0.5, 1, 7):
        watch.advance(share)
    watch.report(3, 4)
    watch.finish()
    assert seen == [0, 500, 750, 1000]
