"""Sensitivities and `auto`: against files in which a tensor really was rounded."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Q

from gritlite.convert import convert
from gritlite.errors import FormatError, UsageError
from gritlite.modelfile.header import read_header
from gritlite.quant.automatic import Choice, fit_loss, fit_size, measure
from gritlite.quant.fidelity.measures import divergence, log_softmax
from gritlite.quant.fidelity.outputs import first_predicted
from gritlite.quant.fidelity.sample import Sample, read_sample
from gritlite.quant.rows import dequantize_rows, quantize_rows
from gritlite.quant.sensitivity import Sensitivity, SensitivityMeter
from gritlite.runtime.model import GritLM
from tests.tiny import make_checkpoint

NAMES = ["token_embd.weight", "blk.0.ffn_down.weight", "blk.1.attn_q.weight", "output.weight"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text("\n\n".join(f"hello number {i}, and a word more" for i in range(60)))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    made = {}
    for case in ("mistral", "mixtral"):
        checkpoint = make_checkpoint(folder / case, case, hidden=256, feed_forward=512)
        made[case] = folder / f"{case}.gguf"
        convert(checkpoint, made[case], "f32")
    return made


@pytest.fixture
def model(files: dict[str, Path]):
    with GritLM(files["mistral"], threads=1, editable=True) as loaded:
        yield loaded


@pytest.fixture
def sample(model: GritLM, text: Path) -> Sample:
    return read_sample(model, [text], limit=1)


def stored(path: Path, name: str) -> np.ndarray:
    (tensor,) = (each for each in gguf.GGUFReader(path).tensors if each.name == name)
    return np.array(tensor.data)


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_can_be_replaced_and_put_back(name: str, model: GritLM, sample: Sample) -> None:
    chunk = sample.chunks[0]
    before = model.logits(chunk)
    values = stored(model.path, name)
    model.replace_weight(name, (values * 1.5).view(np.uint8))
    assert np.abs(model.logits(chunk) - before).max() > 1e-3
    model.replace_weight(name, values.view(np.uint8))
    assert np.array_equal(model.logits(chunk), before)


def test_what_cannot_be_replaced(model: GritLM, files: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"does not use blk\.9\.attn_q\.weight"):
        model.replace_weight("blk.9.attn_q.weight", np.zeros(4, np.uint8))
    with pytest.raises(UsageError, match=r"token_embd\.weight has [0-9,]+ bytes, not 4"):
        model.replace_weight("token_embd.weight", np.zeros(4, np.uint8))
    with GritLM(files["mistral"], threads=1) as mapped, pytest.raises(UsageError, match="editable"):
        mapped.replace_weight("blk.0.attn_q.weight", np.zeros(256 * 256 * 4, np.uint8))


@pytest.mark.parametrize("name", NAMES)
def test_a_sensitivity_is_what_a_rounded_file_shows(
    name: str, model: GritLM, sample: Sample, tmp_path: Path
) -> None:
    """Q3_K is the type that is tried out, so its loss is measured, not reckoned."""
    ((_, found),) = SensitivityMeter(model, sample, {}).run([name])
    data = model.path.read_bytes()
    values = stored(model.path, name)
    rounded = dequantize_rows(quantize_rows(values, Q.Q3_K, threads=1), Q.Q3_K)
    assert data.count(values.tobytes()) == 1
    (tmp_path / "rounded.gguf").write_bytes(data.replace(values.tobytes(), rounded.tobytes()))
    chunk = sample.chunks[0]
    first = first_predicted(chunk)
    with GritLM(tmp_path / "rounded.gguf", threads=1) as other:
        one, two = (log_softmax(each.logits(chunk, first)) for each in (model, other))
    assert found.generate[Q.Q3_K] == pytest.approx(divergence(one, two).mean(), rel=1e-3)


def test_all_tensors_together(model: GritLM, sample: Sample, tmp_path: Path) -> None:
    """Against a file in which all of them were rounded; and afterwards the model is as before."""
    names = [name for name in NAMES if name != "token_embd.weight"]
    chunk = sample.chunks[0]
    first = first_predicted(chunk)
    before = model.logits(chunk, first)
    _, generate = SensitivityMeter(model, sample, {}).together(names, Q.Q4_1)
    assert np.array_equal(model.logits(chunk, first), before)
    data = model.path.read_bytes()
    for name in names:
        values = stored(model.path, name)
        rounded = dequantize_rows(quantize_rows(values, Q.Q4_1, threads=1), Q.Q4_1)
        data = data.replace(values.tobytes(), rounded.tobytes())
    (tmp_path / "rounded.gguf").write_bytes(data)
    with GritLM(tmp_path / "rounded.gguf", threads=1) as other:
        after = log_softmax(other.logits(chunk, first))
    assert generate == pytest.approx(divergence(log_softmax(before), after).mean(), rel=1e-3)


def test_errors_that_go_together_count_as_they_do_together(
    files: dict[str, Path], text: Path, tmp_path: Path
) -> None:
    """Weights that were Q4_1 and then moved a little: Q4_1 takes all of them back."""
    convert(files["mistral"], tmp_path / "q4_1.gguf", "q4_1")
    convert(tmp_path / "q4_1.gguf", tmp_path / "moved.gguf", "f32")
    with GritLM(tmp_path / "moved.gguf", threads=1, editable=True) as model:
        sample = read_sample(model, [text], limit=1)
        meter = SensitivityMeter(model, sample, {})
        names = [tensor.name for tensor in model.file.tensors if len(tensor.shape) > 1]
        alone = dict(meter.run(names))
        found = measure(model, sample, {}, lambda *_: None)
        for type in (Q.Q4_0, Q.Q4_1, Q.Q6_K):
            embed, generate = meter.together(names, type)
            assert sum(found[name].embed[type] for name in names) == pytest.approx(
                max(embed, sum(alone[name].embed[type] for name in names)), rel=0.01
            )
            assert sum(found[name].generate[type] for name in names) == pytest.approx(
                max(generate, sum(alone[name].generate[type] for name in names)), rel=0.01
            )


def test_more_bits_cost_less(model: GritLM, sample: Sample) -> None:
    for _, found in SensitivityMeter(model, sample, {}).run(NAMES[:2]):
        for losses in (found.embed, found.generate):
            values = [losses[type] for type in (Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K, Q.Q8_0)]
            assert values == sorted(values, reverse=True)
        assert Q.IQ3_XXS not in found.embed  # it needs an importance matrix


def sensitivities(model: GritLM, sample: Sample) -> dict[str, Sensitivity]:
    return measure(model, sample, {}, lambda *_: None)


def choices_by_size(model: GritLM, found: dict[str, Sensitivity]) -> dict[int, Choice]:
    whole = model.file.size
    return {
        size: fit_size(model.file, found, size) for size in (whole // 9, whole // 6, whole // 4)
    }


def test_files_are_as_large_as_they_may_be(model: GritLM, sample: Sample, tmp_path: Path) -> None:
    found = sensitivities(model, sample)
    losses = []
    for size, choice in choices_by_size(model, found).items():
        convert(model.path, tmp_path / "m.gguf", choice.target, types=choice.types, force=True)
        written = read_header(tmp_path / "m.gguf")
        assert 0.8 * size < written.size <= size
        assert {t.name: t.type.name for t in written.tensors if t.name in choice.types} == {
            name: type.name for name, type in choice.types.items()
        }
        losses.append(choice.embed_loss / 0.01 + choice.generate_loss / 0.05)
        same = fit_loss(model.file, found, losses[-1] / 2)
        assert same.embed_loss / 0.01 + same.generate_loss / 0.05 <= losses[-1] + 1e-9
    assert losses == sorted(losses, reverse=True)
    with pytest.raises(UsageError, match="cannot be reached"):
        fit_size(model.file, found, 1000)


def test_experts_are_rounded_matrix_by_matrix(files: dict[str, Path], text: Path) -> None:
    name = "blk.0.ffn_up_exps.weight"
    weights = np.random.default_rng(0).random((4, 256), np.float32)
    with GritLM(files["mixtral"], threads=1, editable=True) as model:
        sample = read_sample(model, [text], limit=1)
        ((_, plain),) = SensitivityMeter(model, sample, {}).run([name])
        ((_, weighed),) = SensitivityMeter(model, sample, {name: weights}).run([name])
        assert Q.IQ3_XXS in weighed.generate
        assert weighed.generate[Q.Q3_K] != plain.generate[Q.Q3_K]
        with pytest.raises(FormatError, match="is of another model"):
            SensitivityMeter(model, sample, {name: weights[:3]})


def test_a_quantized_source_is_refused(files: dict[str, Path], text: Path, tmp_path: Path) -> None:
    convert(files["mistral"], tmp_path / "q8_0.gguf", "q8_0")
    with GritLM(tmp_path / "q8_0.gguf", threads=1, editable=True) as model:
        meter = SensitivityMeter(model, read_sample(model, [text], limit=1), {})
        with pytest.raises(UsageError, match=r"quantized already \(blk\.0\.attn_q\.weight is Q8_0"):
            next(meter.run(["blk.0.attn_q.weight"]))
