"""The safety probe, with children that really crash."""

import json
import subprocess
import sys
import tempfile
import warnings

import pytest

from gritlite.errors import LibraryError
from gritlite.runtime import probe
from gritlite.runtime.probe import Verdict, run_probe
from gritlite.system import processor
from gritlite.system.processes import module_command


def child(tmp_path, code):
    """Return a command that counts its runs, then executes `code` with the probe's `mode`."""
    program = (
        "import os, signal, sys, time; mode = sys.argv[1]\n"
        f"runs = {str(tmp_path / 'runs')!r}\n"
        "with open(runs, 'a') as file: file.write(mode + ' ')\n"
    )
    return (sys.executable, "-c", program + code)


def runs(tmp_path):
    return (tmp_path / "runs").read_text().split()


CRASHES_WITH_AMX = "if mode == 'repack': os.kill(os.getpid(), signal.SIGSEGV)"
ILLEGAL = "os.kill(os.getpid(), signal.SIGILL)"


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Start with an empty cache and no verdict in memory; return a way to choose the child."""
    monkeypatch.setenv("GRITLITE_CACHE", str(tmp_path / "cache"))
    probe.forget()

    def use(code):
        monkeypatch.setattr(run_probe, "__defaults__", (child(tmp_path, code),))

    yield use
    probe.forget()


def forget_process():
    """Act like a new process, which has only the cache."""
    probe.forget()


def test_llama_cpp_runs_here():
    assert run_probe() == Verdict(True)


def test_a_crash_with_repacked_weights_falls_back_to_plain_ones(tmp_path):
    assert run_probe(child(tmp_path, CRASHES_WITH_AMX)) == Verdict(False, "killed by SIGSEGV")
    assert runs(tmp_path) == ["repack", "plain"]


def test_an_illegal_instruction_in_both_modes_is_an_error_with_the_fix(tmp_path):
    with pytest.raises(LibraryError) as caught:
        run_probe(child(tmp_path, ILLEGAL))
    assert "illegal instruction" in str(caught.value)
    assert probe.REBUILD in str(caught.value)
    assert runs(tmp_path) == ["repack", "plain"]


def test_an_illegal_instruction_in_one_mode(tmp_path):
    verdict = run_probe(child(tmp_path, f"if mode == 'repack': {ILLEGAL}"))
    assert verdict == Verdict(False, "illegal instruction: built for another processor")


def test_the_childs_message_is_reported(tmp_path):
    with pytest.raises(LibraryError, match="exit code 1: products are not finite"):
        run_probe(child(tmp_path, "sys.exit('noise\\nproducts are not finite')"))


KILLED_ONCE = "if len(open(runs).read().split()) == 1: os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"])
def test_a_child_killed_from_outside_gives_no_verdict(tmp_path, name):
    kill = f"signal.signal(signal.SIGINT, signal.SIG_DFL); os.kill(os.getpid(), signal.{name})"
    with pytest.raises(LibraryError, match=f"could not be tested .*{name}") as caught:
        run_probe(child(tmp_path, kill))
    assert ("memory ran out" in str(caught.value)) == (name == "SIGKILL")
    assert runs(tmp_path) == ["repack"]


def test_an_out_of_memory_kill_is_not_cached(fresh, tmp_path):
    fresh(KILLED_ONCE)
    with pytest.raises(LibraryError, match="memory ran out"):
        probe.ensure_safe()
    assert not (tmp_path / "cache" / "probe.json").exists()
    assert probe.ensure_safe() == Verdict(True)
    assert runs(tmp_path) == ["repack", "repack"]


def test_an_out_of_memory_kill_keeps_the_cached_verdict(fresh, tmp_path):
    fresh("")
    probe.ensure_safe()
    fresh("os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(LibraryError, match="memory ran out"):
        probe.renew()
    assert probe.ensure_safe() == Verdict(True)


def test_the_real_child_without_disk_space_gives_no_verdict():
    limited = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
    start = f"{limited}os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])"
    with pytest.raises(
        LibraryError, match=rf"out of memory or of space in {tempfile.gettempdir()}: "
    ):
        run_probe((sys.executable, "-c", start, "-m", "gritlite.runtime.probe_child"))


def test_a_child_that_crashes_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    crash = "import tempfile; tempfile.mkdtemp(); os.kill(os.getpid(), signal.SIGSEGV)"
    with pytest.raises(LibraryError, match="SIGSEGV"):
        run_probe(child(tmp_path, crash))
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_hanging_child_times_out(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "_TIMEOUT", 0.5)
    with pytest.raises(LibraryError, match=r"no result after 0\.5 s"):
        run_probe(child(tmp_path, "time.sleep(60)"))


def test_a_child_that_cannot_be_started():
    with pytest.raises(LibraryError, match="cannot be started"):
        run_probe(("/nowhere/python",))


def test_a_crash_warns_at_every_load_and_is_probed_once(fresh, tmp_path):
    fresh(CRASHES_WITH_AMX)
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"crashes with repacked weights.*-fno-dse"):
            assert not probe.ensure_safe().repack
        forget_process()
    assert runs(tmp_path) == ["repack", "plain"]


def test_a_working_build_is_probed_once_without_warnings(fresh, tmp_path):
    fresh("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert probe.ensure_safe() == Verdict(True)
            forget_process()
    assert runs(tmp_path) == ["repack"]


def test_an_error_is_not_cached(fresh, tmp_path):
    fresh(ILLEGAL)
    for _ in range(2):
        with pytest.raises(LibraryError):
            probe.ensure_safe()
    assert len(runs(tmp_path)) == 4


def test_renewing_replaces_the_cached_verdict(fresh, tmp_path):
    fresh(CRASHES_WITH_AMX)
    assert not probe.renew().repack
    fresh("")
    assert probe.renew().repack
    forget_process()
    assert probe.ensure_safe().repack
    assert runs(tmp_path) == ["repack", "plain", "repack"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"KEY": null}', '{"KEY": {"odd": 1}}', '{"other": {}}']
)
def test_a_damaged_cache_means_a_new_probe(fresh, tmp_path, content):
    fresh("")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "probe.json").write_text(content.replace("KEY", probe.fingerprint()))
    assert probe.ensure_safe() == Verdict(True)
    assert runs(tmp_path) == ["repack"]


def test_another_build_or_processor_means_a_new_probe(fresh, tmp_path, monkeypatch):
    fresh("")
    probe.ensure_safe()
    forget_process()
    monkeypatch.setattr(processor, "description", lambda: "another one")
    probe.ensure_safe()
    assert runs(tmp_path) == ["repack", "repack"]
    known = json.loads((tmp_path / "cache" / "probe.json").read_text())
    assert list(known) == [probe.fingerprint()]


def test_a_frozen_app_starts_no_child_and_does_without_repacking(fresh, tmp_path, monkeypatch):
    fresh("")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.warns(UserWarning, match="this frozen app cannot test.*freeze_support"):
        assert not probe.ensure_safe().repack
    assert not (tmp_path / "runs").exists()
    monkeypatch.setattr(probe, "can_start", lambda: True)
    forget_process()
    assert probe.ensure_safe() == Verdict(True)
    monkeypatch.setattr(probe, "can_start", lambda: False)
    forget_process()
    assert probe.ensure_safe() == Verdict(True)  # cached
    assert runs(tmp_path) == ["repack"]


def test_an_app_that_unpacks_itself_anew_keeps_its_verdict(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)

    def fingerprint(folder, content):
        folder.mkdir()
        (folder / "libllama.so").write_bytes(content)
        monkeypatch.setattr(probe, "library_folder", lambda: folder)
        return probe.fingerprint()

    first = fingerprint(tmp_path / "first", b"a")
    assert fingerprint(tmp_path / "second", b"a") == first
    assert fingerprint(tmp_path / "third", b"b") != first
    monkeypatch.setattr(sys, "frozen", False)
    assert fingerprint(tmp_path / "fourth", b"a") != first


def test_without_a_writable_cache_every_process_probes(fresh, tmp_path, monkeypatch):
    fresh("")
    monkeypatch.setenv("GRITLITE_CACHE", "/proc/nowhere")
    assert probe.ensure_safe() == Verdict(True)


def test_the_childs_model_can_be_decoded(tmp_path):
    done = subprocess.run(
        [*module_command(probe.CHILD), "plain"],
        capture_output=True,
        env={"TMPDIR": str(tmp_path)},
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert list(tmp_path.iterdir()) == []
