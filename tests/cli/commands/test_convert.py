"""The command `gritlite convert`, in a child process."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gritlite.convert import convert
from gritlite.modelfile.header import read_header
from gritlite.modelfile.hyperparameters import embeds_only
from gritlite.system import cache
from tests.tiny import make_checkpoint
from tests.tiny_adapters import make_adapter


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model")


@pytest.fixture(scope="module")
def large_checkpoint(tmp_path_factory):
    """Large enough to interrupt: its conversion to q2_k takes some tenths of a second."""
    folder = tmp_path_factory.mktemp("large") / "model"
    return make_checkpoint(folder, hidden=512, feed_forward=2048, layers=8)


def test_a_repository_in_the_hugging_face_cache(checkpoint, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshots = tmp_path / "hub" / "models--org--model" / "snapshots"
    shutil.copytree(checkpoint, snapshots / commit)
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub")}
    output = tmp_path / "out.gguf"
    code, printed, said = run("org/model", "-o", output, "-t", "f16", env=environment)
    assert (code, printed.startswith(f"{output}: ")) == (0, True)
    assert said == f"gritlite: used as it lies in the Hugging Face cache, commit {commit}\n"


def line(*arguments):
    return [sys.executable, "-m", "gritlite", "convert", *map(str, arguments)]


def run(*arguments, **options):
    done = subprocess.run(
        line(*arguments), capture_output=True, text=True, timeout=60, check=False, **options
    )
    return done.returncode, done.stdout, done.stderr


def test_a_summary_on_one_line(checkpoint, tmp_path):
    output = tmp_path / "model.gguf"
    status, out, err = run(checkpoint, "-o", output, "--type", "bf16")
    size = output.stat().st_size / 2**20
    tensors = len(read_header(output).tensors)
    assert (status, err) == (0, "")
    assert out == f"{output}: {tensors} tensors, {size:.1f} MiB, bf16\n"


def test_fallbacks_are_reported(checkpoint, tmp_path):
    status, _, err = run(checkpoint, "-o", tmp_path / "model.gguf", "--type", "q4_k_m")
    assert status == 0
    assert "blk.0.attn_q.weight" in err  # its rows of 64 hold no block of 256
    assert all(part.startswith("gritlite: ") for part in err.splitlines())


def test_a_file_for_embedding_is_made_and_taken_back(checkpoint, tmp_path):
    made, back = tmp_path / "embed.gguf", tmp_path / "back.gguf"
    assert run(checkpoint, "-o", made, "--type", "f16", "--for-embedding")[0] == 0
    status, _, err = run(made, "-o", back, "--type", "f16")
    assert (status, "for both tasks again" in err) == (0, True)
    assert embeds_only(read_header(made))
    assert not embeds_only(read_header(back))


def test_for_embedding_makes_a_gguf_file(checkpoint, tmp_path):
    arguments = ("-o", tmp_path / "gptq", "--format", "gptq", "--for-embedding")
    status, _, err = run(checkpoint, *arguments)
    assert (status, "--for-embedding is for --format gguf" in err) == (2, True)


def test_rounding_twice_is_reported(checkpoint, tmp_path):
    for source, output, type in (
        (checkpoint, "floats.gguf", "f16"),
        (tmp_path / "floats.gguf", "once.gguf", "q8_0"),
        (tmp_path / "once.gguf", "same.gguf", "q8_0"),
    ):
        assert run(source, "-o", tmp_path / output, "--type", type)[::2] == (0, "")
    assert (tmp_path / "same.gguf").read_bytes() == (tmp_path / "once.gguf").read_bytes()
    twice = (tmp_path / "once.gguf", "-o", tmp_path / "twice.gguf", "--type", "q4_0")
    status, out, err = run(*twice)
    assert (status, out) == (2, "")
    assert "once.gguf is quantized already: 15 of its tensors would be rounded twice" in err
    assert err.endswith("; pass --requantize to allow it\n")
    assert not (tmp_path / "twice.gguf").exists()
    status, out, err = run(*twice, "--requantize")
    assert status == 0
    # the output matrix, whose rows do not fit Q6_K, stays as it is
    assert "15 tensors were quantized before and now rounded twice" in err
    assert len(out.splitlines()) == 1


def test_an_adapter_is_merged(checkpoint, tmp_path):
    adapter = make_adapter(tmp_path / "adapter", checkpoint)
    output = tmp_path / "merged.gguf"
    status, out, err = run(checkpoint, "-o", output, "--type", "q8_0", "--adapter", adapter)
    assert (status, err) == (0, "")
    assert out.startswith(f"{output}: ")
    convert(checkpoint, tmp_path / "expected.gguf", "q8_0", adapter=adapter)
    assert output.read_bytes() == (tmp_path / "expected.gguf").read_bytes()
    status, out, err = run(
        checkpoint, "-o", output, "--type", "f16", "--adapter", tmp_path, "--force"
    )
    assert (status, out) == (2, "")
    assert "has no adapter_config.json" in err


def test_a_pulled_name_will_do(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("GRITLITE_CACHE", str(tmp_path / "cache"))
    home = cache.folder("hub") / "tiny"
    home.symlink_to(checkpoint)
    cache.register("org/tiny", home)
    assert run("org/tiny", "-o", tmp_path / "model.gguf", "--type", "f32")[0] == 0


def test_an_output_that_exists_is_kept(checkpoint, tmp_path):
    output = tmp_path / "model.gguf"
    output.write_bytes(b"mine")
    status, out, err = run(checkpoint, "-o", output, "--type", "f16")
    assert (status, out) == (2, "")
    assert err == (
        f"gritlite: error: {output} exists already; "
        "pass --force to replace it, or name another output\n"
    )
    assert output.read_bytes() == b"mine"
    assert run(checkpoint, "-o", output, "--type", "f16", "--force")[0] == 0
    assert output.read_bytes()[:4] == b"GGUF"


@pytest.mark.parametrize(
    ("source", "type", "words"),
    [
        ("nowhere", "f16", "nowhere does not exist"),
        ("empty", "f16", "config.json"),
        ("empty", "q1_x", "Invalid value for '-t' / '--type'"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, source, type, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    status, out, err = run(source, "-o", "model.gguf", "--type", type)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert words in err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_disk_that_fills_up(checkpoint, tmp_path):
    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    status, out, err = run(
        checkpoint, "-o", tmp_path / "model.gguf", "--type", "f32", preexec_fn=small_files_only
    )
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert str(tmp_path / "model.gguf") in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_killed_conversion_leaves_the_old_file(large_checkpoint, tmp_path, number, status):
    output = tmp_path / "model.gguf"
    output.write_bytes(b"mine")
    child = subprocess.Popen(
        line(large_checkpoint, "-o", output, "--type", "q2_k", "--force"),
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until_writing(child.pid, tmp_path)
    child.send_signal(number)
    _, err = child.communicate(timeout=30)
    assert child.returncode == status
    assert "Traceback" not in err
    assert output.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [output]


def wait_until_writing(pid, folder):
    """Wait until the process has written to an unnamed file in the folder."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if str(link.readlink()).startswith(f"{folder}/#") and link.stat().st_size:
                    return
            except FileNotFoundError:
                continue
        time.sleep(0.005)
    raise AssertionError("the conversion never began to write")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "gptq", "--type", "q4_0"], "--type is for --format gguf"),
        (["--format", "gptq", "--adapter", "somewhere"], "--adapter is for --format gguf"),
        (["--format", "gptq", "--imatrix", "x.gguf"], "--imatrix is for --format gguf"),
        (["--type", "q4_0", "--bits", "4"], "--bits is for --format gptq"),
        (["--type", "q4_0", "--texts", "a.txt"], "--texts is for --format gptq"),
    ],
)
def test_options_of_the_other_format_are_refused(arguments, message, checkpoint, tmp_path):
    status, _, err = run(checkpoint, "-o", tmp_path / "output", *arguments)
    assert (status, err.startswith(f"gritlite: error: {message}")) == (2, True)
