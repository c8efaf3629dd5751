"""convert() with an importance matrix gives the tensors that llama_model_quantize gives."""

from pathlib import Path

import gguf
import numpy as np
import pytest

from gritlite.convert import convert
from gritlite.errors import FormatError, UsageError
from gritlite.modelfile.header import read_header
from gritlite.quant.imatrix import Activations, Imatrix, write_imatrix
from gritlite.quant.types import TARGETS
from tests.reference import quantize_with_llama_cpp
from tests.tiny import make_checkpoint


def matrix_of(model: Path, without: str = "nothing") -> Imatrix:
    """Random activations of every matrix of the layers; some experts were never chosen."""
    random = np.random.default_rng(0)
    tensors = {}
    for info in read_header(model).tensors:
        is_matrix = len(info.shape) > 1 and info.name.startswith("blk.")
        if is_matrix and "gate_inp" not in info.name and without not in info.name:
            count = info.shape[0] if len(info.shape) > 2 else 1
            squares = random.standard_exponential((count, info.shape[-1]), np.float32) ** 4
            counts = random.integers(-2, 9, count).clip(0)
            counts[0] = 3
            tensors[info.name] = Activations(squares, counts.astype(np.float32))
    return Imatrix(tensors, ("texts.txt",), 3, 512)


@pytest.fixture(scope="module", params=["mistral", "mixtral"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint's folder; beside it the same in f32, and a matrix of it."""
    folder = tmp_path_factory.mktemp("model")
    checkpoint = make_checkpoint(folder / "checkpoint", request.param, hidden=256, feed_forward=512)
    convert(checkpoint, folder / "f32.gguf", "f32")
    write_imatrix(matrix_of(folder / "f32.gguf"), folder / "matrix.gguf")
    return checkpoint


def tensors_of(path: Path) -> dict[str, tuple[str, bytes]]:
    return {t.name: (t.tensor_type.name, t.data.tobytes()) for t in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("target", ["q4_0", "q4_k_m", "q2_k", "iq3_xxs", "iq2_s", "iq1_s"])
def test_tensors_are_those_of_llama_cpp(model: Path, target: str, tmp_path: Path) -> None:
    floats, matrix = model.parent / "f32.gguf", model.parent / "matrix.gguf"
    importances = {name: each.importance for name, each in matrix_of(floats).tensors.items()}
    assert quantize_with_llama_cpp(floats, tmp_path / "theirs.gguf", TARGETS[target], importances)
    theirs = tensors_of(tmp_path / "theirs.gguf")
    for source in (model, floats):
        report = convert(source, tmp_path / "ours.gguf", target, imatrix=matrix, force=True)
        assert tensors_of(tmp_path / "ours.gguf") == theirs
        assert report.without_importance == ()


def test_the_file_says_which_matrix(model: Path, tmp_path: Path) -> None:
    """The keys of llama-quantize, once each even when the source has them already."""
    matrix = model.parent / "matrix.gguf"
    convert(model, tmp_path / "q8_0.gguf", "q8_0", imatrix=matrix)
    convert(
        tmp_path / "q8_0.gguf", tmp_path / "model.gguf", "q2_k", imatrix=matrix, requantize=True
    )
    for path in (tmp_path / "q8_0.gguf", tmp_path / "model.gguf"):
        metadata = read_header(path).metadata
        assert {key: metadata[key] for key in metadata if key.startswith("quantize.")} == {
            "quantize.imatrix.file": "matrix.gguf",
            "quantize.imatrix.dataset": "texts.txt",
            "quantize.imatrix.entries_count": len(matrix_of(model.parent / "f32.gguf").tensors),
            "quantize.imatrix.chunks_count": 3,
        }


def test_tensors_that_the_matrix_lacks_are_told(model: Path, tmp_path: Path) -> None:
    write_imatrix(matrix_of(model.parent / "f32.gguf", "1.attn_q"), tmp_path / "matrix.gguf")
    report = convert(model, tmp_path / "m.gguf", "q4_k_m", imatrix=tmp_path / "matrix.gguf")
    assert report.without_importance == ("blk.1.attn_q.weight",)
    with pytest.raises(FormatError, match=r"lacks blk\.1\.attn_q\.weight, which IQ2_XXS needs"):
        convert(model, tmp_path / "n.gguf", "iq2_xxs", imatrix=tmp_path / "matrix.gguf")
    assert not (tmp_path / "n.gguf").exists()


def test_a_matrix_of_another_model(model: Path, tmp_path: Path) -> None:
    other = make_checkpoint(tmp_path / "other")
    with pytest.raises(FormatError, match=r"belongs to another model: it has .* columns for blk"):
        convert(other, tmp_path / "m.gguf", "q8_0", imatrix=model.parent / "matrix.gguf")
    ones = np.ones((1, 4), np.float32)
    write_imatrix(Imatrix({"x.weight": Activations(ones, ones[0, :1])}), tmp_path / "strange.gguf")
    with pytest.raises(FormatError, match="another model: it has 0 layers, the model 2"):
        convert(model, tmp_path / "m.gguf", "q8_0", imatrix=tmp_path / "strange.gguf")


def test_types_that_need_a_matrix(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="iq1_m needs an importance matrix"):
        convert(model, tmp_path / "m.gguf", "iq1_m")


def test_what_is_quantized_is_refused(model: Path, tmp_path: Path) -> None:
    convert(model, tmp_path / "q8_0.gguf", "q8_0")
    with pytest.raises(UsageError, match=r"q8_0\.gguf is quantized already: \d+ of its tensors"):
        convert(tmp_path / "q8_0.gguf", tmp_path / "m.gguf", "q4_0")
    report = convert(tmp_path / "q8_0.gguf", tmp_path / "m.gguf", "q8_0")
    assert report.requantized == 0
    assert convert(tmp_path / "q8_0.gguf", tmp_path / "n.gguf", "q4_0", requantize=True).requantized
