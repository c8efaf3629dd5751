"""A file's projection: what vectors become, where it travels, and what is refused."""

import base64
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from gguf import GGUFReader
from numpy.typing import NDArray

from gritlite import GritLM
from gritlite.convert import convert
from gritlite.convert.onnx_export import export_onnx
from gritlite.errors import FormatError
from gritlite.modelfile.header import read_header
from gritlite.prompt import TRAINED_KEY, EmbedFormat
from tests.tiny import make_checkpoint
from tests.tiny_adapters import make_adapter, write_projection, write_said

KEY = "grit.embed.projection"
TEXTS = ["one", "two words", "a third text"]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same model without a projection and with one, f32."""
    folder = tmp_path_factory.mktemp("projection")
    base = make_checkpoint(folder / "base", "llama-head-dim")
    adapter = make_adapter(folder / "adapter", base)
    convert(base, folder / "plain.gguf", "f32", adapter=adapter)
    write_projection(adapter, 64)
    convert(base, folder / "projected.gguf", "f32", adapter=adapter)
    return folder / "plain.gguf", folder / "projected.gguf"


def test_vectors_are_multiplied_by_it(paths: tuple[Path, Path]) -> None:
    plain, projected = (GritLM(path, threads=1) for path in paths)
    with plain, projected:
        whole, found = plain.encode(TEXTS), projected.encode(TEXTS)
    # as gguf's own reader has it
    data = base64.b64decode(GGUFReader(paths[1]).get_field(KEY).contents())
    expected = whole @ np.frombuffer(data, np.float16).reshape(64, 64).astype(np.float64)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_it_is_applied_to_the_mean_of_a_texts_chunks(paths: tuple[Path, Path]) -> None:
    plain, projected = (GritLM(path, threads=1) for path in paths)
    matrix = projected.format.projection
    with plain, projected:
        (whole,) = plain.encode_stream(["word " * 90], max_length=32, too_long="chunk")
        (found,) = projected.encode_stream(["word " * 90], max_length=32, too_long="chunk")
    expected = whole @ matrix
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)


def test_it_travels_with_the_file(paths: tuple[Path, Path], tmp_path: Path) -> None:
    convert(paths[1], tmp_path / "small.gguf", "q8_0")
    was, kept = (read_header(path).metadata[KEY] for path in (paths[1], tmp_path / "small.gguf"))
    assert kept == was


def test_llama_cpp_does_not_know_it_so_a_file_for_embedding_has_none(
    paths: tuple[Path, Path], tmp_path: Path
) -> None:
    plain, projected = (tmp_path / path.name for path in paths)
    reports = [
        convert(path, output, "f32", for_embedding=True)
        for path, output in zip(paths, (plain, projected), strict=True)
    ]
    assert [bool(report.notices) for report in reports] == [False, True]
    assert not any(report.for_both_tasks for report in reports)
    assert "llama.cpp does not know projections" in reports[1].notices[0]
    with GritLM(plain, threads=1) as ours, GritLM(projected, threads=1) as theirs:
        np.testing.assert_array_equal(theirs.encode(TEXTS), ours.encode(TEXTS))


def test_an_adapter_that_was_trained_to_embed_without_it_drops_it(
    paths: tuple[Path, Path], tmp_path: Path
) -> None:
    # a checkpoint of the same shapes, which tells what the adapter's are
    adapter = make_adapter(tmp_path / "adapter", make_checkpoint(tmp_path / "b", "llama-head-dim"))
    kept = convert(paths[1], tmp_path / "kept.gguf", "f32", adapter=adapter)
    assert (kept.notices, KEY in read_header(kept.output).metadata) == ((), True)
    write_said(adapter, {TRAINED_KEY: "true"})
    dropped, plain = (
        convert(path, tmp_path / path.name, "f32", adapter=adapter) for path in reversed(paths)
    )
    assert "the base's projection is left out" in dropped.notices[0]
    assert plain.notices == ()
    with GritLM(dropped.output, threads=1) as ours, GritLM(plain.output, threads=1) as theirs:
        np.testing.assert_array_equal(ours.encode(TEXTS), theirs.encode(TEXTS))


def test_an_adapters_projection_is_left_out_of_a_file_for_embedding(tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base", "llama-head-dim")
    adapter = make_adapter(tmp_path / "adapter", base)
    write_projection(adapter, 64)
    made = tmp_path / "made.gguf"
    report = convert(base, made, "f32", adapter=adapter, for_embedding=True)
    assert "llama.cpp does not know projections" in report.notices[0]
    assert KEY not in read_header(made).metadata


def test_an_onnx_graph_multiplies_its_hidden_states(
    paths: tuple[Path, Path], tmp_path: Path
) -> None:
    hidden = []
    for path in paths:
        export_onnx(read_header(path), tmp_path / path.stem, "float32")
        session = onnxruntime.InferenceSession(tmp_path / path.stem / "model.onnx")
        inputs = {"input_ids": [[5, 6, 7, 0]], "attention_mask": [[1, 1, 1, 0]]}
        hidden.append(session.run(None, {key: np.int64(rows) for key, rows in inputs.items()})[0])
    projection = EmbedFormat.from_metadata(read_header(paths[1]).metadata).projection
    np.testing.assert_allclose(hidden[1], hidden[0] @ projection, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("projection", "message"),
    [
        (np.zeros((64, 16), np.float16), "does not hold 64 x 64 finite floats"),
        (np.zeros((64, 64), np.int8), "does not hold 64 x 64 finite floats"),
        (np.full((64, 64), np.nan, np.float16), "does not hold 64 x 64 finite floats"),
        (None, "is not a NumPy array"),
    ],
)
def test_one_that_does_not_fit(
    tmp_path: Path, projection: NDArray[np.float16] | None, message: str
) -> None:
    base = make_checkpoint(tmp_path / "base", "llama-head-dim")
    adapter = make_adapter(tmp_path / "adapter", base)
    if projection is None:
        (adapter / "projection.npy").write_bytes(b"no array")
    else:
        np.save(adapter / "projection.npy", projection)
    with pytest.raises(FormatError, match=message):
        convert(base, tmp_path / "model.gguf", "f32", adapter=adapter)
