"""`gritlite doctor`: a report even where llama.cpp crashes."""

import json
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from gritlite.cli.commands import doctor as doctor_module
from gritlite.cli.commands import doctor_diagnostics, doctor_extras
from gritlite.cli.commands.doctor import command
from gritlite.errors import ArchitectureError, FileError, FormatError, LibraryError
from gritlite.modelfile.header import read_header
from gritlite.modelfile.memory import embed_memory, generate_memory
from gritlite.runtime import probe
from gritlite.runtime.llama.devices import Gpu
from gritlite.runtime.model_identity import ModelIdentity
from gritlite.runtime.onnx import packages, verdict
from gritlite.runtime.onnx.check import Measures
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.verdict import FormVerdict, Setting, Verdict
from gritlite.runtime.probe import run_probe
from tests.runtime.onnx.fake_bench import keep_fingerprint
from tests.sample_gguf import BPE, write_model


def doctor(*arguments):
    return CliRunner().invoke(command, list(map(str, arguments)), standalone_mode=False)


@pytest.fixture
def child(monkeypatch, tmp_path):
    """Make the probe run other code in its child process, with an empty cache."""
    monkeypatch.setenv("GRITLITE_CACHE", str(tmp_path / "cache"))

    def use(code):
        line = (sys.executable, "-c", "import os, signal, sys\n" + code)
        monkeypatch.setattr(run_probe, "__defaults__", (line,))

    use("")
    yield use
    probe.forget()


def test_the_report(gritlite):
    status, out, err = gritlite("doctor", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["machine"]["memory_available"] > 0
    assert 1 <= found["machine"]["threads"] <= found["machine"]["logical_cores"]
    assert found["library"]["version"] == version("llama-cpp-python")
    assert found["library"]["runs"]
    assert found["library"]["features"]
    assert found["fits"] == []


def test_the_report_for_people(child):
    out = doctor().stdout
    for word in ("processor", "memory available", "llama-cpp-python", "GPU", "cache"):
        assert f"\n{word} " in f"\n{out}"
    assert "safety probe" in out
    columns = {len(line) - len(line.split("  ", 1)[1].lstrip()) for line in out.splitlines()}
    assert len(columns) == 1


def test_a_crash_with_repacked_weights_is_reported_with_its_cure(child):
    child("if sys.argv[1] == 'repack': os.kill(os.getpid(), signal.SIGSEGV)")
    result = doctor()
    assert result.exception is None
    assert "only without the fastest kernels (killed by SIGSEGV)" in result.stdout
    assert probe.REBUILD in result.stdout
    assert probe._load(probe.fingerprint()) == probe.Verdict(False, "killed by SIGSEGV")


def test_a_build_that_cannot_run_is_a_failure_after_the_report(child):
    child("os.kill(os.getpid(), signal.SIGILL)")
    result = doctor("--json")
    found = json.loads(result.stdout)
    assert not found["library"]["runs"]
    assert found["machine"]["logical_cores"] >= 1
    assert isinstance(result.exception, LibraryError)
    assert result.exception.exit_code == 1
    assert probe.REBUILD in str(result.exception)


def test_what_of_a_model_fits(child, model, monkeypatch):
    header = read_header(model)
    embed, generate = embed_memory(header, 128), generate_memory(header, 128)
    monkeypatch.setattr(doctor_diagnostics, "available_memory", lambda: generate.total)
    fits = json.loads(doctor(model, "--json").stdout)["fits"]
    assert [(fit["use"], fit["fits"]) for fit in fits] == [
        ("embed, passes of 128 tokens", embed.total <= generate.total),
        ("chat of 128 tokens", True),
        ("both, a chat of 128 tokens", False),
    ]
    assert fits[2]["need"]["weights"] == embed.weights
    assert fits[2]["need"]["kv_cache"] == embed.kv_cache + generate.kv_cache
    assert "does not fit" in doctor(model).stdout
    monkeypatch.setattr(doctor_diagnostics, "available_memory", lambda: None)
    assert "available memory unknown" in doctor(model).stdout


def test_a_model_that_cannot_be_checked_is_tried(child, tmp_path):
    result = doctor(write_model(tmp_path / "m.gguf", BPE, arch="dream"))
    assert "model probe" in result.stdout
    assert "llama.cpp fails: killed by SIGABRT while generating" in result.stdout
    assert isinstance(result.exception, ArchitectureError)
    result = doctor(write_model(tmp_path / "other.gguf", BPE, arch="granitehybrid"))
    assert (result.exit_code, result.exception) == (0, None)
    assert "llama.cpp does not crash with it" in result.stdout


def test_runtimes_and_the_verdict_about_a_model_or_the_default_one(child, tmp_path, monkeypatch):
    path = write_model(tmp_path / "m.gguf", BPE)
    file = read_header(path)
    found = FormVerdict(Form("onnx", "int8"), "1", 0, Measures(40, 0.999, 0.998, 4.5, 3))
    verdict.keep(ModelIdentity(file).fingerprint(), Verdict(Setting(2, "auto"), (found,)))
    keep_fingerprint(file)
    monkeypatch.setattr(packages, "_version", {"onnx": "1.20", "onnxruntime": "1.25"}.get)
    without = " ".join(doctor().stdout.split())
    assert "runtime onnx 1.25 runtime openvino not installed" in without
    assert "engine, " not in without
    of_model = next(line for line in doctor(path).stdout.splitlines() if "engine, " in line)
    assert of_model.split("  ")[0] == "engine, 2 threads"
    assert of_model.endswith("  onnx-int8; exact: llama")
    monkeypatch.setattr(doctor_diagnostics, "pulled_models", lambda: {"default": path})
    report = json.loads(doctor("--json").stdout)
    assert report["runtimes"] == {"onnx": "1.25", "openvino": None}
    assert report["engines"][0]["fast"] == "onnx-int8"
    assert "engine, 2 threads" in doctor().stdout
    path.write_bytes(b"damaged")
    assert json.loads(doctor("--json").stdout)["engines"] == []


def test_pulled_models_are_listed(child, tmp_path):
    from gritlite.system import cache

    path = cache.folder("hub", "org--name", "abc") / "m.gguf"
    path.touch()
    cache.register("org/name:m.gguf", path)
    found = json.loads(doctor("--json").stdout)
    assert found["pulled_models"] == {"org/name:m.gguf": str(path)}
    assert found["cache_folder"] == str(tmp_path / "cache")


@pytest.mark.parametrize(
    ("content", "kind"), [(None, FileError), (b"", FormatError), (b"GGUF" + bytes(99), FormatError)]
)
def test_a_model_that_cannot_be_read(child, tmp_path, content, kind):
    path = tmp_path / "bad.gguf"
    if content is not None:
        path.write_bytes(content)
    assert isinstance(doctor(path).exception, kind | ArchitectureError)


def test_every_package_of_an_extra_is_named(child, monkeypatch):
    wanted = ("click>=8", "no-such-package>=1", "numpy>=1000")
    monkeypatch.setattr(doctor_extras, "EXTRAS", {"parquet": wanted, "hub": ("click>=8",)})
    lines = doctor().stdout.splitlines()
    click, numpy = version("click"), version("numpy")
    assert (
        f"extra parquet     click {click}; numpy {numpy} is older than 1000; "
        'missing: no-such-package; run  pip install "gritlite[parquet]"'
    ) in lines
    assert f"extra hub         click {click}" in lines
    extras = json.loads(doctor("--json").stdout)["extras"]
    assert extras["parquet"][1:] == [
        {"name": "no-such-package", "installed": None, "needed": "1"},
        {"name": "numpy", "installed": numpy, "needed": "1000"},
    ]


@pytest.mark.parametrize(
    ("installed", "needed", "suits"),
    [
        (None, "1", False),
        ("1.4", "1.4.0", True),
        ("1.10", "1.9", True),
        ("2.14.0+cpu", "2.8", True),
        ("1.4rc1", "1.4", True),
        ("1.3.9", "1.4", False),
    ],
)
def test_versions_are_compared_by_their_numbers(installed, needed, suits):
    assert doctor_extras.OptionalPackage("a", installed, needed).suits == suits


def test_the_extras_are_those_of_the_package():
    project = tomllib.loads(Path(__file__).parents[3].joinpath("pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert {extra: tuple(names) for extra, names in extras.items()} == doctor_extras.EXTRAS


def test_what_a_monitor_shows_is_explained(child, model):
    assert "a monitor may show them twice" in doctor(model).stdout
    assert "a monitor may" not in doctor().stdout


def library(**gpu):
    return doctor_diagnostics.Library("0.3.36", runs=True, repack=True, problem="", **gpu)


@pytest.mark.parametrize(
    ("gpu", "row"),
    [
        ({}, ("GPU", "not in this build (docs/gpu.md)")),
        ({"gpu_backends": ("CUDA",)}, ("GPU", "none seen by this CUDA build (docs/gpu.md)")),
        (
            {"gpus": (Gpu("CUDA0", "NVIDIA H200", 2**37, 2**38),)},
            ("GPU CUDA0", "NVIDIA H200, 128.00 GiB of 256.00 GiB free"),
        ),
    ],
)
def test_a_gpu_is_named_or_what_is_missing(gpu, row):
    assert row in doctor_module._library_rows(library(**gpu))


def test_this_build_sees_no_gpu_or_names_it(gritlite):
    from gritlite.runtime.llama import capabilities

    build = capabilities()
    assert build.gpu == bool(build.gpus)
    found = json.loads(gritlite("doctor", "--json")[1])["library"]
    assert [gpu["name"] for gpu in found["gpus"]] == [gpu.name for gpu in build.gpus]
