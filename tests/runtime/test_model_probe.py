"""The model probe, with files that really end llama.cpp, and children that end in other ways."""

import os
import shutil
import sys

import pytest

from gritlite import GritLM
from gritlite.errors import ArchitectureError, GritLiteError, LibraryError
from gritlite.modelfile.header import read_header
from gritlite.runtime import model_probe
from gritlite.runtime.model_probe import ModelVerdict, ensure_runs, known_verdict, try_model
from gritlite.system import cache
from tests.sample_gguf import BPE, SPM, rewrite, write_model

CPU = {"gpu_layers": 0, "repack": True}


def child(code):
    """Return a command that runs `code` in place of the real child."""
    return (sys.executable, "-c", "import os, signal, sys, time\n" + code)


def count_trials(monkeypatch):
    """Return a list that gets an item for each child that is started."""
    trials, run = [], model_probe.run_trial
    monkeypatch.setattr(
        model_probe, "run_trial", lambda *a, **k: (trials.append(a), run(*a, **k))[1]
    )
    return trials


@pytest.fixture
def unknown(tmp_path, cache_folder):
    """A file of an architecture that only llama.cpp knows."""
    return read_header(write_model(tmp_path / "m.gguf", BPE, arch="granitehybrid"))


CRASHING = {
    "a tokenizer over another vocabulary": ({}, "bert", "tokenizer 'bert'", "loading"),
    "an architecture": ({"arch": "smallthinker"}, "", "architecture 'smallthinker'", "loading"),
    "a diffusion model": ({"arch": "dream"}, "", "architecture 'dream'", "generating"),
    "another one": ({"arch": "llada"}, "", "architecture 'llada'", "generating"),
}


@pytest.mark.parametrize("name", CRASHING)
def test_a_file_that_ends_llama_cpp_is_an_error(tmp_path, cache_folder, monkeypatch, name):
    options, tokenizer, part, step = CRASHING[name]
    path = write_model(tmp_path / "m.gguf", SPM if tokenizer else BPE, **options)
    if tokenizer:
        key = "tokenizer.ggml.model"
        path = rewrite(
            path, tmp_path / "t.gguf", lambda writer: writer.add_tokenizer_model(tokenizer), (key,)
        )
    trials = count_trials(monkeypatch)
    for _ in range(2):
        with pytest.raises(ArchitectureError) as caught:
            GritLM(path, threads=1)
        assert f"killed by SIGABRT while {step}" in str(caught.value)
        assert part in str(caught.value)
    assert len(trials) == 1


def test_a_file_whose_parts_are_all_known_starts_no_child(tmp_path, cache_folder, monkeypatch):
    trials = count_trials(monkeypatch)
    file = read_header(write_model(tmp_path / "m.gguf", BPE))
    ensure_runs(file, **CPU)
    assert trials == []
    assert known_verdict(file) is None


def test_a_file_that_runs_is_tried_once(tmp_path, cache_folder, monkeypatch):
    trials = count_trials(monkeypatch)
    path = write_model(tmp_path / "m.gguf", BPE, arch="llama")
    odd = rewrite(
        path, tmp_path / "odd.gguf", lambda writer: writer.add_float32("llama.attention.scale", 0.3)
    )
    for _ in range(2):
        with GritLM(odd, threads=1) as model:
            assert model.encode(["hello"]).shape == (1, 32)
    assert len(trials) == 1
    assert known_verdict(read_header(odd)) == ModelVerdict("")
    moved = shutil.copy2(odd, tmp_path / "moved.gguf")
    assert known_verdict(read_header(moved)) == ModelVerdict("")
    os.utime(moved, ns=(0, 0))
    assert known_verdict(read_header(moved)) is None


def test_an_error_of_llama_cpp_is_reported_by_the_process_that_meets_it(unknown):
    assert try_model(unknown, **CPU) == ModelVerdict("")
    with pytest.raises(GritLiteError, match=r"cannot load .*granitehybrid|missing"):
        GritLM(unknown.path, threads=1)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("print('loading'); print('embedding', flush=True); os.abort()", "SIGABRT while embedding"),
        ("sys.exit('ValueError: odd')", "exit code 1: ValueError: odd while starting"),
        ("os.kill(os.getpid(), signal.SIGILL)", "illegal instruction"),
    ],
)
def test_how_a_child_ends(unknown, code, problem):
    assert problem in try_model(unknown, **CPU, child=child(code)).problem
    with pytest.raises(ArchitectureError, match="architecture 'granitehybrid'"):
        ensure_runs(unknown, **CPU)


def test_a_child_that_hangs(unknown, monkeypatch):
    monkeypatch.setattr(model_probe, "_TIMEOUT", 0.5)
    verdict = try_model(unknown, **CPU, child=child("time.sleep(60)"))
    assert "no result after 0.5" in verdict.problem
    assert known_verdict(unknown) is None  # the machine may have been busy


def test_a_kill_from_outside_gives_no_verdict(unknown):
    with pytest.raises(LibraryError, match=r"could not be tested .*memory ran out"):
        try_model(unknown, **CPU, child=child("os.kill(os.getpid(), signal.SIGKILL)"))
    assert known_verdict(unknown) is None


def test_a_frozen_app_refuses_the_file_and_starts_no_child(unknown, monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    trials = count_trials(monkeypatch)
    with pytest.raises(ArchitectureError, match=r"granitehybrid.*frozen app"):
        ensure_runs(unknown, **CPU)
    assert trials == []


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"problem": 1}'])
def test_a_damaged_verdict_means_a_new_trial(unknown, content):
    try_model(unknown, **CPU, child=child("os.abort()"))
    cache.root().joinpath(*model_probe._record(unknown)).write_text(content)
    assert known_verdict(unknown) is None


def test_without_a_writable_cache_every_start_tries_the_file(unknown, monkeypatch):
    monkeypatch.setenv("GRITLITE_CACHE", "/proc/nowhere")
    assert try_model(unknown, **CPU, child=child("")) == ModelVerdict("")
    assert known_verdict(unknown) is None
