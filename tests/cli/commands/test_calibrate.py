"""`gritlite calibrate`, and `gritlite quantize` with its result, in child processes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gritlite.convert import convert
from gritlite.modelfile.header import read_header
from gritlite.quant.imatrix import read_imatrix
from tests.tiny import make_checkpoint


def line(*arguments):
    return [sys.executable, "-m", "gritlite", *map(str, arguments)]


def run(*arguments):
    done = subprocess.run(line(*arguments), capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def when_read(fifo, process):
    """The pipe, opened for writing when the process starts to read it."""
    while process.poll() is None:
        try:
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            time.sleep(0.01)
            continue
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "wb")
    raise AssertionError(process.communicate())


def processor_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n\n".join(f"hello number {i}, and a word more" for i in range(60)))
    return path


def test_from_a_model_to_a_smaller_one(model, text, tmp_path):
    matrix, small = tmp_path / "matrix.gguf", tmp_path / "small.gguf"
    status, out, err = run("calibrate", model, "-o", matrix, "--texts", text, "--threads", 1)
    assert (status, err) == (0, "")
    assert out.startswith(f"{matrix}: 14 tensors, ")
    assert out.endswith(" in generate mode\n")
    status, out, err = run("quantize", model, small, "--type", "q4_0", "--imatrix", matrix)
    assert status == 0, err
    assert read_header(small).metadata["quantize.imatrix.file"] == "matrix.gguf"
    status, out, err = run("quantize", small, tmp_path / "b.gguf", "--type", "q8_0")
    assert (status, out) == (2, "")
    assert "is quantized already" in err
    assert err.endswith("; pass --requantize to allow it\n")
    assert run("quantize", small, tmp_path / "b.gguf", "--type", "q8_0", "--requantize")[0] == 0


def test_a_file_of_a_given_size(text, tmp_path):
    checkpoint = make_checkpoint(tmp_path / "checkpoint", hidden=256, feed_forward=512)
    convert(checkpoint, tmp_path / "model.gguf", "f16")
    source, output = tmp_path / "model.gguf", tmp_path / "small.gguf"
    common = ["quantize", source, output, "--type", "auto", "--threads", 1]
    status, out, err = run(*common, "--max-size", "0.9MB", "--texts", text)
    assert status == 0, err
    assert re.match(r"gritlite: measured: 1 - cosine \S+, KL divergence \S+\n", err)
    assert re.search(r"gritlite: q\S+: 1 - cosine \S+, KL divergence \S+\n", err)
    assert out.startswith(f"{output}: ")
    assert 700_000 < output.stat().st_size <= 900_000
    assert run(*common, "--max-loss", "0.5", "--force", "--texts", text)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "auto needs --max-size or --max-loss"),
        (["--max-size", "large"], "'large' is not a size: write 4.0GiB, 700MB or bytes"),
        (["--max-size", "1000"], "1,000 bytes cannot be reached"),
        (["--max-size", "9" * 400], "is larger than any file can be"),
        (["--max-loss", "0"], "0.0 is not in the range x>0"),
        (["--max-loss", "nan"], "--max-loss is nan: expected a number"),
        (["--max-size", "1MB", "--requantize"], "--requantize: the type auto takes f32, f16 or"),
    ],
)
def test_sizes_that_cannot_be(arguments, said, model, tmp_path):
    line = ["quantize", model, tmp_path / "m.gguf", "--type", "auto", "--threads", 1]
    status, out, err = run(*line, *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert not (tmp_path / "m.gguf").exists()


def test_our_own_text_by_default(model, tmp_path):
    status, _, err = run("calibrate", model, "-o", tmp_path / "m.gguf", "--threads", 1)
    assert (status, err) == (0, "")
    assert read_imatrix(tmp_path / "m.gguf").datasets == ("prose.txt", "prompts.jsonl")


def test_a_type_without_its_matrix(model, tmp_path):
    status, out, err = run("quantize", model, tmp_path / "m.gguf", "--type", "iq2_xs")
    assert (status, out) == (2, "")
    assert "iq2_xs needs an importance matrix: make one with gritlite calibrate" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--texts", "none.txt"], "cannot read none.txt"),
        (["--embed-weight", "2"], "2.0 is not in the range 0<=x<=1"),
        (["--resume"], "m.gguf.checkpoint to resume from"),
    ],
)
def test_bad_input(arguments, said, model, tmp_path):
    status, out, err = run("calibrate", model, "-o", tmp_path / "m.gguf", *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped(number, model, tmp_path):
    text = tmp_path / "long.txt"
    words = "\n\n".join(f"hello number {i}, and a word more" for i in range(3000)).encode()
    os.mkfifo(text)
    output = tmp_path / "m.gguf"
    command = line("calibrate", model, "-o", output, "--texts", text, "--threads", 1)
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
        with when_read(text, process) as pipe:
            pipe.write(words)
        begun = processor_seconds(process.pid)
        while processor_seconds(process.pid) < begun + 0.2:  # in the middle of its passes
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    text.unlink()
    text.write_bytes(words)
    assert out == ""
    names = sorted(path.name for path in tmp_path.iterdir())
    if number == signal.SIGKILL:
        assert names == ["long.txt"]
        return
    assert process.returncode == 130
    assert "stopped: continue with --resume" in err
    assert names == ["long.txt", "m.gguf.checkpoint"]
    status, _, err = run("calibrate", model, "-o", output, "--texts", text)
    assert status == 2
    assert "pass --resume to continue it, or --force to start again" in err
    command = [*command, "--resume"]
    assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.txt", "m.gguf"]
