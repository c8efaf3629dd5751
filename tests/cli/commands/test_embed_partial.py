"""A stopped job goes on where it stopped, with the same input, model and options only."""

import fcntl
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from gritlite.cli.commands.embed import command
from gritlite.cli.commands.embed_partial import partial_path
from gritlite.errors import FileError, FormatError, OutOfMemoryError, OutputExistsError, UsageError
from gritlite.runtime.embed import Embedder
from gritlite.runtime.model import GritLM
from tests.cli.in_process import invoke
from tests.sample_gguf import write_model

TEXTS = [f"{'hello a ' * (i % 9)}text {i}" for i in range(300)]
SMALL_PASSES = ("--pass-tokens", 32)  # so that there are many windows


@pytest.fixture(scope="module")
def expected(model):
    with GritLM(model, threads=1, pass_tokens=32) as loaded:
        return loaded.encode(TEXTS)


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n")
    return path


@pytest.fixture
def output(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "vectors.npy"


@pytest.fixture
def stop(model, lines, output, monkeypatch):
    """Runs a job that fails in its fourth window, and returns the path of its partial result."""

    def run(output=output):
        windows = []
        embed = Embedder._embed_window

        def fail(self, *args):
            windows.append(1)
            if len(windows) > 3:
                raise OutOfMemoryError("no memory is left")
            return embed(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(Embedder, "_embed_window", fail)
            with pytest.raises(OutOfMemoryError):
                invoke(command, model, lines, "-o", output, *SMALL_PASSES)
        return partial_path(output)

    return run


@pytest.fixture
def embedded(monkeypatch):
    """The texts that were embedded, in order."""
    texts = []
    stream = GritLM.encode_stream

    def remember(self, given, **options):
        def each():
            for text in given:
                texts.append(text)
                yield text

        return stream(self, each(), **options)

    monkeypatch.setattr(GritLM, "encode_stream", remember)
    return texts


def count(partial):
    """The number of vectors in a partial result."""
    with partial.open("rb") as file:
        file.readline()
        found = 0
        while head := file.read(40):
            vectors = int.from_bytes(head[:4], "little")
            file.seek(vectors * 32 * 4, os.SEEK_CUR)
            found += vectors
    return found


def resume(model, lines, output, *arguments):
    return invoke(command, model, lines, "-o", output, "--resume", *SMALL_PASSES, *arguments)


@pytest.mark.parametrize("suffix", [".npy", ".jsonl", ".parquet"])
def test_a_resumed_job_gives_the_same_file(model, lines, output, stop, embedded, suffix):
    output = output.with_suffix(suffix)
    whole = output.with_name(f"whole{suffix}")
    invoke(command, model, lines, "-o", whole, *SMALL_PASSES)
    done = count(stop(output))
    embedded.clear()
    result = resume(model, lines, output)
    assert embedded == TEXTS[done:]
    assert result.stderr == f"gritlite: going on after {done} vectors\n"
    assert result.stdout == f"{output}: 300 vectors of 32 dimensions\n"
    assert output.read_bytes() == whole.read_bytes()
    assert sorted(output.parent.iterdir()) == sorted([output, whole])


SLOW = """
import sys, time
from gritlite.__main__ import main
from gritlite.runtime.embed import Embedder

embed = Embedder._embed_window

def slow(self, *args):
    time.sleep(0.02)
    return embed(self, *args)

Embedder._embed_window = slow
main()
"""


def test_killed_jobs_lose_nothing_that_was_written(model, lines, output, expected):
    """kill -9 at random moments, again and again."""
    partial = partial_path(output)
    line = [sys.executable, "-c", SLOW, "embed", "-m", model, "--threads", 1, lines, "-o", output]
    line = [*map(str, line), *map(str, SMALL_PASSES)]
    sizes = [0]
    for _ in range(4):
        child = subprocess.Popen(line + ["--resume"] * partial.exists())
        while child.poll() is None and size(partial) <= sizes[-1]:
            time.sleep(0.001)
        time.sleep(random.random() / 20)
        child.kill()
        child.wait()
        assert not output.exists()
        sizes.append(size(partial))
    assert sizes == sorted(set(sizes))  # each run goes on from the one before
    subprocess.run([*line, "--resume"], check=True, timeout=60)
    assert np.array_equal(np.load(output), expected)
    assert list(output.parent.iterdir()) == [output]


def size(path):
    return path.stat().st_size if path.exists() else 0


def test_a_stopped_job_is_not_passed_over(model, lines, output, stop):
    partial = stop()
    with pytest.raises(UsageError, match=f"{partial} is from a stopped job: pass --resume to go"):
        invoke(command, "no.gguf", lines, "-o", output)
    with pytest.raises(UsageError, match="--resume needs --output"):
        invoke(command, "no.gguf", lines, "--resume")
    partial.unlink()
    with pytest.raises(UsageError, match=r"there is no .*partial to resume from"):
        invoke(command, "no.gguf", lines, "-o", output, "--resume")


def test_force_starts_again(model, lines, output, stop, embedded, expected):
    stop()
    output.write_text("old")
    embedded.clear()
    invoke(command, model, lines, "-o", output, "--force", *SMALL_PASSES)
    assert embedded == TEXTS
    assert np.array_equal(np.load(output), expected)
    assert list(output.parent.iterdir()) == [output]


def test_an_output_is_replaced_by_force_only(model, lines, output, stop, expected):
    stop()
    output.write_text("old")
    with pytest.raises(OutputExistsError):
        resume(model, lines, output)
    resume(model, lines, output, "--force")
    assert np.array_equal(np.load(output), expected)


def test_other_texts_are_refused(model, lines, output, stop):
    partial = stop()
    before = partial.read_bytes()
    lines.write_text("\n".join(["another", *TEXTS[1:]]) + "\n")
    with pytest.raises(UsageError, match="made from other texts than the first"):
        resume(model, lines, output)
    lines.write_text("\n".join(TEXTS[:3]) + "\n")
    with pytest.raises(UsageError, match="made from other texts than the first"):
        resume(model, lines, output)
    assert partial.read_bytes() == before


def test_texts_may_be_added_and_changed_behind_it(model, lines, output, stop):
    done = count(stop())
    changed = [*TEXTS[:done], "another", *TEXTS[done + 1 :], "one more"]
    lines.write_text("\n".join(changed) + "\n")
    resume(model, lines, output)
    with GritLM(model, threads=1) as loaded:
        assert np.allclose(np.load(output), loaded.encode(changed), atol=1e-3)


def test_another_model_or_other_options_are_refused(model, lines, output, stop, tmp_path):
    stop()
    other = write_model(tmp_path / "other.gguf", bias=True)
    with pytest.raises(UsageError, match="was made with another model: restore it, or delete"):
        resume(other, lines, output)
    for arguments, said in [
        (("--instruction", "Find it"), "another instruction"),
        (("--max-length", 50), "another maximum length"),
        (("--truncate",), "another way of treating long texts"),
    ]:
        with pytest.raises(UsageError, match=f"was made with {said}"):
            resume(model, lines, output, *arguments)


def test_what_is_cut_off_or_damaged_is_computed_again(model, lines, output, stop, expected):
    partial = stop()
    whole = partial.read_bytes()
    for damaged in (
        whole[:-1],
        whole[:-150] + bytes([whole[-150] ^ 1]) + whole[-149:],
        whole[: whole.index(b"\n") + 20],
        whole + b"\xff" * 100,
    ):
        partial.write_bytes(damaged)
        resume(model, lines, output, "--force")
        assert np.array_equal(np.load(output), expected)


@pytest.mark.parametrize("content", [b"", b"vectors\n", b"[]\n", b'{"format": 1}\n', b"\xff" * 9])
def test_another_file_is_no_partial_result(model, lines, output, content):
    partial = partial_path(output)
    partial.write_bytes(content)
    with pytest.raises(FormatError, match="is not the partial result"):
        resume(model, lines, output)
    assert partial.read_bytes() == content


def test_two_jobs_do_not_share_a_partial_result(model, lines, output, stop):
    partial = stop()
    with partial.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for arguments in ((), ("--resume",), ("--force",)):
            with pytest.raises(FileError, match=f"another process is writing {partial}"):
                invoke(command, model, lines, "-o", output, *arguments)
    assert count(partial) > 0


def test_a_job_that_computed_nothing_leaves_nothing(model, lines, output, monkeypatch):
    def fail(*_):
        raise OutOfMemoryError("no memory is left")

    monkeypatch.setattr(Embedder, "_embed_window", fail)
    with pytest.raises(OutOfMemoryError):
        invoke(command, model, lines, "-o", output)
    assert list(output.parent.iterdir()) == []
