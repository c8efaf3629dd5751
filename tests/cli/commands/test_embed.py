"""`gritlite embed`: vectors of a tiny model in files and on standard output."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import click
import numpy as np
import pyarrow.parquet as pq
import pytest

from gritlite.cli.commands import embed_output as module
from gritlite.cli.commands.embed import command
from gritlite.cli.commands.embed_output import open_writer
from gritlite.cli.commands.embed_partial import partial_path
from gritlite.cli.shared.advice import advised_message
from gritlite.errors import (
    DeviceError,
    EmptyTextError,
    FormatError,
    InputError,
    InputTooLongError,
    MissingExtraError,
    OutputExistsError,
    UsageError,
)
from gritlite.runtime.embed import Embedder
from gritlite.runtime.model import GritLM
from tests.cli.in_process import invoke

WIDTH = 32  # of the tiny model
TEXTS = [f"{'hello a ' * (i % 9)}text {i}" for i in range(120)]


@pytest.fixture(scope="module")
def expected(model):
    with GritLM(model, threads=1) as loaded:
        return loaded.encode(TEXTS)


def test_vectors_are_cut_to_a_size_of_the_model(sized_path, lines, tmp_path):
    with GritLM(sized_path, threads=1) as loaded:
        cut = loaded.encode(TEXTS, dimensions=16)
    output = tmp_path / "out.npy"
    said = embed(sized_path, lines, "--dimensions", 16, "-o", output)
    assert said == f"{output}: 120 vectors of 16 dimensions\n"
    assert np.array_equal(read(output), cut)
    with pytest.raises(UsageError, match="this model was trained for 8, 16 and 64"):
        embed(sized_path, lines, "--dimensions", 17, "-o", tmp_path / "b.npy")
    assert not (tmp_path / "b.npy").exists()


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n")
    return path


def embed(model, *arguments):
    return invoke(command, model, *arguments).stdout


def read(path):
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".parquet":
        return np.array(pq.read_table(path)["embedding"].to_pylist(), np.float32)
    return from_json(path.read_text())


def from_json(text):
    return np.array([json.loads(line)["embedding"] for line in text.splitlines()], np.float32)


@pytest.mark.parametrize("suffix", [".npy", ".jsonl", ".parquet"])
def test_every_format_holds_the_vectors_in_order(model, lines, expected, tmp_path, suffix):
    output = tmp_path / f"out{suffix}"
    said = embed(model, lines, "-o", output)
    assert said == f"{output}: 120 vectors of 32 dimensions\n"
    assert np.array_equal(read(output), expected)


def test_standard_input_to_standard_output(gritlite, expected):
    status, out, err = gritlite("embed", stdin="\n".join(TEXTS).encode())
    assert (status, err) == (0, "")
    assert np.array_equal(from_json(out), expected)
    assert list(json.loads(out.splitlines()[0])) == ["embedding"]


def test_a_dash_is_standard_input_between_files(gritlite, tmp_path, lines, expected):
    status, out, _ = gritlite("embed", lines, "-", stdin=b"text 0\n")
    assert status == 0
    assert from_json(out).shape == (121, WIDTH)
    assert np.allclose(from_json(out)[120], expected[0], atol=1e-3)


def test_no_texts_are_no_vectors(model, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.touch()
    for suffix in module.FORMATS:
        output = tmp_path / f"out{suffix}"
        embed(model, empty, "-o", output)
        assert len(read(output)) == 0
    assert np.load(tmp_path / "out.npy").shape == (0, WIDTH)


def test_json_lines_with_a_field(model, tmp_path, expected):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": "no", "body": text}) + "\n" for text in TEXTS))
    out = embed(model, path, "--field", "body")
    assert np.array_equal(from_json(out), expected)


def test_an_instruction_is_plain_words(model, lines):
    words = "Find the passage"
    with GritLM(model, threads=1) as loaded:
        wanted = loaded.encode(TEXTS, instruction=f"<|user|>\n{words}\n<|embed|>\n")
    found = from_json(embed(model, lines, "--instruction", words))
    assert np.array_equal(found, wanted)


def test_the_size_of_passes_does_not_change_the_vectors(model, lines, expected):
    found = from_json(embed(model, lines, "--pass-tokens", 32))
    assert np.allclose(found, expected, atol=1e-3)  # the KV cells are f16


@pytest.fixture
def long_text(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("short\n" + "x" * 500 + "\n")
    return path


def test_a_long_text_is_refused_with_its_line_and_length(model, long_text, tmp_path):
    output = tmp_path / "out.npy"
    with pytest.raises(InputTooLongError) as caught:
        embed(model, long_text, "-o", output)
    assert str(caught.value).startswith(f"{long_text}, line 2: 510 tokens with the prompt, ")
    assert "over the limit of 128" in str(caught.value)
    assert advised_message(caught.value) == f"{caught.value}; pass --truncate or --chunk"
    assert not output.exists()


def test_a_long_text_may_be_cut(model, long_text):
    result = invoke(command, model, long_text, "--truncate", "--max-length", 20)
    assert result.stderr == "gritlite: longer texts were cut to 20 tokens\n"
    with GritLM(model, threads=1) as loaded:
        wanted = loaded.encode(["short", "x" * 10])  # the prompt has 10 tokens
    assert np.allclose(from_json(result.stdout), wanted, atol=1e-3)


def test_a_long_text_may_be_embedded_in_pieces(model, long_text):
    found = from_json(embed(model, long_text, "--chunk", "--max-length", 60))
    with GritLM(model, threads=1) as loaded:
        parts = loaded.encode_stream(["short", "x" * 500], max_length=60, too_long="chunk")
        assert np.array_equal(found, np.concatenate(list(parts)))


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        ("", EmptyTextError, "empty, without tokens to pool"),
        ('{"text": ""}', EmptyTextError, "empty, without tokens to pool"),
        ('{"text": "\\ud800"}', InputError, "'\\ud800' in it is half of a surrogate pair"),
        ("{", FormatError, "not JSON"),
    ],
)
def test_a_bad_text_is_named_by_file_and_line(model, lines, tmp_path, line, kind, said):
    path = tmp_path / f"more.{'jsonl' if '{' in line else 'txt'}"
    fine = '{"text": "fine"}' if "{" in line else "fine"
    path.write_text(f"{fine}\n{line}\n{fine}\n")
    with pytest.raises(kind) as caught:
        embed(model, lines, path)
    assert str(caught.value).startswith(f"{path}, line 2: {said}")


def test_texts_of_only_spaces_have_vectors(model, tmp_path):
    path = tmp_path / "spaces.txt"
    path.write_text(" \n\t\n")
    assert np.allclose(np.linalg.norm(from_json(embed(model, path)), axis=1), 1)


def test_mistakes_are_found_before_the_model_is_loaded(tmp_path, lines):
    there = tmp_path / "there.npy"
    there.write_text("precious")
    no_model = tmp_path / "no.gguf"
    with pytest.raises(OutputExistsError):
        embed(no_model, lines, "-o", there)
    with pytest.raises(UsageError, match=r"\.npy, \.jsonl, \.parquet"):
        embed(no_model, lines, "-o", tmp_path / "out.csv")
    with pytest.raises(click.UsageError, match="exclude each other"):
        embed(no_model, lines, "--truncate", "--chunk")
    with pytest.raises(click.BadParameter, match="neither a number of layers"):
        embed(no_model, lines, "--gpu-layers", "some")
    assert there.read_text() == "precious"


def test_force_replaces(model, lines, tmp_path, expected):
    output = tmp_path / "there.npy"
    output.write_text("worthless")
    embed(model, lines, "-o", output, "--force")
    assert np.array_equal(np.load(output), expected)


def test_parquet_without_its_package_names_the_extra(tmp_path, lines, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"gritlite\[parquet\]"):
        embed(tmp_path / "no.gguf", lines, "-o", tmp_path / "out.parquet")


def test_gpu_layers_without_a_gpu_are_an_error(model, lines):
    from gritlite.runtime.llama import capabilities

    if capabilities().gpu:
        embed(model, lines, "--gpu-layers", "all")
    else:
        with pytest.raises(DeviceError, match="no GPU support"):
            embed(model, lines, "--gpu-layers", "all")


def test_a_build_that_sees_no_gpu_is_not_one_without_support(model, lines, monkeypatch):
    from gritlite.runtime.llama import capabilities, weights

    if capabilities().gpu:
        pytest.skip("this build sees a GPU")
    monkeypatch.setattr(weights, "gpu_backends", lambda: ("CUDA",))
    with pytest.raises(DeviceError, match="sees no GPU for its CUDA support: install"):
        embed(model, lines, "--gpu-layers", "1")


def test_an_ordinary_file_by_paragraphs_or_without_its_blank_lines(model, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("one\ntwo\n\nthree\n")
    paragraphs = from_json(embed(model, path, "--split", "paragraphs"))
    result = invoke(command, model, path, "--skip-empty")
    whole = from_json(embed(model, path, "--split", "files"))
    with GritLM(model, threads=1) as loaded:
        assert np.allclose(paragraphs, loaded.encode(["one\ntwo", "three"]), atol=1e-3)
        assert np.allclose(whole, loaded.encode(["one\ntwo\n\nthree"]), atol=1e-3)
        assert np.allclose(
            from_json(result.stdout), loaded.encode(["one", "two", "three"]), atol=1e-3
        )
    assert result.stderr == "gritlite: 1 blank text was left out\n"


def test_one_text_is_one_vector(model, tmp_path):
    path, output = tmp_path / "one.txt", tmp_path / "out.npy"
    path.write_text("one\n")
    assert embed(model, path, "-o", output) == f"{output}: 1 vector of 32 dimensions\n"


def test_a_terminal_is_told_that_it_is_read(model):
    controller, terminal = os.openpty()
    line = [sys.executable, "-m", "gritlite", "embed", "-m", model, "--threads", 1]
    child = subprocess.Popen(
        list(map(str, line)),
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(controller, b"text 0\n\x04")
    out, err = child.communicate(timeout=60)
    os.close(controller)
    os.close(terminal)
    assert err == "gritlite: reading lines from the terminal; end with Ctrl-D\n"
    assert from_json(out).shape == (1, WIDTH)


def test_parquet_row_groups_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ROW_GROUP_BYTES", 4096)
    rows = np.random.default_rng(0).standard_normal((100, 16)).astype(np.float32)
    path = tmp_path / "out.parquet"
    with open_writer(path, 16, force=False) as write:
        for start in range(0, 100, 7):
            write(rows[start : start + 7])
    groups = pq.ParquetFile(path).metadata
    assert groups.num_row_groups == 2
    assert np.array_equal(read(path), rows)


def test_json_gives_every_float32_back():
    bits = np.random.default_rng(0).integers(0, 2**32, (50, 40), dtype=np.uint32)
    values = bits.view(np.float32)
    values[~np.isfinite(values)] = 0
    buffer = _Buffer()
    with module._jsonl(buffer, 40) as write:
        write(values)
    assert np.array_equal(from_json(buffer.data.decode()), values)


class _Buffer:
    data = b""

    def write(self, data):
        self.data += data

    def flush(self):
        pass


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_job_leaves_a_partial_result_only(model, tmp_path, number, status):
    pipe, output = tmp_path / "pipe", tmp_path / "out" / "vectors.npy"
    output.parent.mkdir()
    os.mkfifo(pipe)
    line = [sys.executable, "-m", "gritlite", "embed", "-m", model, "--threads", 1]
    line += [pipe, "-o", output]
    child = subprocess.Popen(list(map(str, line)), stderr=subprocess.PIPE, text=True)
    with pipe.open("wb", buffering=0) as texts:  # opens when the model is loaded
        until = time.monotonic() + 0.3
        partial = partial_path(output)
        while time.monotonic() < until or partial.stat().st_size < 4000:  # keep it busy
            texts.write(b"hello a hello a hello\n" * 100)
        child.send_signal(number)
        _, err = child.communicate(timeout=30)
    assert child.returncode == status
    interrupted = r"\ngritlite: interrupted\n" if number == signal.SIGINT else ""
    kept = rf"the first [\d,]+ vectors are in {partial}: pass --resume to go on there"
    assert re.fullmatch(rf"\n?gritlite: {kept}\n{interrupted}", err)
    assert list(output.parent.iterdir()) == [partial]


def test_an_error_is_one_line(gritlite, tmp_path):
    status, out, err = gritlite("embed", "-", stdin=b"fine\n\n")
    assert (status, out) == (2, "")
    assert err == (
        "gritlite: error: standard input, line 2: empty, without tokens to pool: leave it out; "
        "pass --skip-empty to leave out blank texts, or --split paragraphs\n"
    )


def test_a_bad_line_of_a_file_is_reported_before_any_text_is_embedded(model, tmp_path, monkeypatch):
    passes = []
    monkeypatch.setattr(Embedder, "_pass_for", lambda *_: passes.append(1))
    path = tmp_path / "texts.txt"
    path.write_text("good\n" * 20_000 + "\n")
    with pytest.raises(EmptyTextError, match=r"texts\.txt, line 20001: empty"):
        embed(model, path)
    assert not passes
