"""Sensitivities and automatic types, compared with files whose tensors were really rounded."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Q

from gritlite.calibrate import auto_types
from gritlite.calibrate.auto_types import (
    Baseline,
    allocate_for_loss,
    allocate_for_size,
    check_max_size,
    measure_sensitivities,
    sensitivity_meter,
)
from gritlite.calibrate.measures import divergence, log_softmax
from gritlite.calibrate.outputs import first_scored
from gritlite.calibrate.sample import Sample, read_sample
from gritlite.calibrate.sensitivity import CANDIDATE_TYPES, Losses, Sensitivity, SensitivityMeter
from gritlite.convert import convert
from gritlite.errors import FormatError, UsageError
from gritlite.modelfile.header import GGUFFile, TensorInfo, read_header
from gritlite.quant.imatrix import Activations, Imatrix, write_imatrix
from gritlite.quant.mixtures import mixtures, quantizable, tensor_bytes
from gritlite.quant.rows import dequantize_rows, quantize_rows
from gritlite.quant.types import row_bytes
from gritlite.runtime.instruments import WeightEditor
from gritlite.runtime.model import GritLM
from gritlite.runtime.scorer import Scorer
from tests.tiny import make_checkpoint

TEXTS = [f"hello number {i}, and a word more" for i in range(60)]
NAMES = ["token_embd.weight", "blk.0.ffn_down.weight", "blk.1.attn_q.weight", "output.weight"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text("\n\n".join(TEXTS))
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
    before = Scorer(model).logits(chunk)
    values = stored(model.path, name)
    WeightEditor(model).replace(name, (values * 1.5).view(np.uint8))
    assert np.abs(Scorer(model).logits(chunk) - before).max() > 1e-3
    WeightEditor(model).replace(name, values.view(np.uint8))
    assert np.array_equal(Scorer(model).logits(chunk), before)
    with GritLM(model.path, threads=1) as other, pytest.raises(UsageError, match="was not made by"):
        other.generate("hello", document=model.document_state("a text"))


def test_replacing_is_refused(model: GritLM, files: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"does not use blk\.9\.attn_q\.weight"):
        WeightEditor(model).replace("blk.9.attn_q.weight", np.zeros(4, np.uint8))
    with pytest.raises(UsageError, match=r"token_embd\.weight has [0-9,]+ bytes, not 4"):
        WeightEditor(model).replace("token_embd.weight", np.zeros(4, np.uint8))
    with GritLM(files["mistral"], threads=1) as mapped, pytest.raises(UsageError, match="editable"):
        WeightEditor(mapped).replace("blk.0.attn_q.weight", np.zeros(256 * 256 * 4, np.uint8))


@pytest.mark.parametrize("name", NAMES)
def test_a_sensitivity_matches_a_rounded_file(
    name: str, model: GritLM, sample: Sample, tmp_path: Path
) -> None:
    """The loss in Q3_K is measured, not extrapolated."""
    ((_, found),) = SensitivityMeter(model, sample, {}).measure([name])
    data = model.path.read_bytes()
    values = stored(model.path, name)
    rounded = dequantize_rows(quantize_rows(values, Q.Q3_K, threads=1), Q.Q3_K)
    assert data.count(values.tobytes()) == 1
    (tmp_path / "rounded.gguf").write_bytes(data.replace(values.tobytes(), rounded.tobytes()))
    chunk = sample.chunks[0]
    first = first_scored(chunk)
    with GritLM(tmp_path / "rounded.gguf", threads=1) as other:
        one, two = (log_softmax(Scorer(each).logits(chunk, first)) for each in (model, other))
        before, after = (each.encode(TEXTS).astype(np.float64) for each in (model, other))
    assert found.generate[Q.Q3_K] == pytest.approx(divergence(one, two).mean(), rel=1e-3)
    lost = 1 - (before * after).sum(axis=1).mean()  # on all texts; the meter uses some of them
    assert found.embed[Q.Q3_K] == pytest.approx(lost, rel=0.05, abs=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
def test_losses_of_other_types_are_proportional_to_squared_errors(
    weighted: bool, model: GritLM, sample: Sample
) -> None:
    name = "blk.1.attn_q.weight"
    weights = np.random.default_rng(0).random((1, 256), np.float32) if weighted else None
    meter = SensitivityMeter(model, sample, {} if weights is None else {name: weights})
    ((_, found),) = meter.measure([name])
    values = stored(model.path, name)

    def error(type: Q) -> float:
        rounded = dequantize_rows(quantize_rows(values, type, 1, weights), type)
        return float((np.square(values - rounded) * (1 if weights is None else weights)).sum())

    for type in (Q.Q2_K, Q.Q4_K, Q.Q5_0, Q.Q8_0):
        for losses in (found.embed, found.generate):
            assert losses[type] / losses[Q.Q3_K] == pytest.approx(
                error(type) / error(Q.Q3_K), rel=1e-3
            )


def test_a_tensor_that_the_first_probe_type_does_not_change(text: Path, tmp_path: Path) -> None:
    """Rows of 64 are measured in Q4_0, which is exact here; no type changes zeros."""
    checkpoint = make_checkpoint(tmp_path / "c")
    convert(checkpoint, tmp_path / "f32.gguf", "f32")
    values = stored(tmp_path / "f32.gguf", "blk.0.attn_q.weight")
    exact = dequantize_rows(quantize_rows(values, Q.Q4_0, threads=1), Q.Q4_0)
    data = (tmp_path / "f32.gguf").read_bytes().replace(values.tobytes(), exact.tobytes())
    zeros = stored(tmp_path / "f32.gguf", "blk.1.attn_q.weight")
    (tmp_path / "exact.gguf").write_bytes(data.replace(zeros.tobytes(), bytes(zeros.nbytes)))
    with GritLM(tmp_path / "exact.gguf", threads=1, editable=True) as model:
        meter = SensitivityMeter(model, read_sample(model, [text], limit=1), {})
        (_, found), (_, nothing) = meter.measure(["blk.0.attn_q.weight", "blk.1.attn_q.weight"])
    assert found.embed[Q.Q4_0] == found.generate[Q.Q4_0] == 0
    assert found.embed[Q.Q4_1] > 0 < found.generate[Q.Q4_1]
    assert set(nothing.embed.values()) == set(nothing.generate.values()) == {0}


def test_an_importance_matrix_without_a_tensor(
    model: GritLM, sample: Sample, tmp_path: Path
) -> None:
    """Mixtures that need the missing tensor are not baselines."""
    infos = quantizable(model.file)
    weights = {info.name: np.ones((1, info.shape[-1]), np.float32) for info in infos}
    assert any(each.target == "iq2_xs" for each in mixtures(model.file, weights))
    del weights["blk.0.ffn_up.weight"]
    assert not any("iq2" in each.target for each in mixtures(model.file, weights))
    meter = SensitivityMeter(model, sample, weights)
    found = measure_sensitivities(meter, lambda *_: None)
    assert allocate_for_size(meter, found, model.file.size // 8, lambda *_: None).types


@pytest.mark.parametrize(
    ("layers", "columns", "message"),
    [
        (3, 256, "it has 3 layers, the model 2"),
        (2, 64, "it has 64 columns for blk.0.attn_q.weight, the model 256"),
    ],
)
def test_an_importance_matrix_of_another_model(
    layers: int, columns: int, message: str, model: GritLM, text: Path, tmp_path: Path
) -> None:
    ones = np.ones((1, columns), np.float32)
    tensors = {f"blk.{n}.attn_q.weight": Activations(ones, ones[0, :1]) for n in range(layers)}
    write_imatrix(Imatrix(tensors), tmp_path / "other.gguf")
    with pytest.raises(FormatError, match=f"other.gguf: the importance matrix .*: {message}"):
        sensitivity_meter(model, [text], tmp_path / "other.gguf")


def test_combined_losses_match_a_rounded_file(
    model: GritLM, sample: Sample, tmp_path: Path
) -> None:
    """Also checks that the model is restored afterwards."""
    types = {
        "blk.0.ffn_down.weight": Q.Q4_1,
        "blk.1.attn_q.weight": Q.Q5_0,
        "output.weight": Q.Q2_K,
    }
    chunk = sample.chunks[0]
    first = first_scored(chunk)
    before = Scorer(model).logits(chunk, first)
    losses = SensitivityMeter(model, sample, {}).combined_losses(types)
    assert np.array_equal(Scorer(model).logits(chunk, first), before)
    data = model.path.read_bytes()
    for name, type in types.items():
        values = stored(model.path, name)
        rounded = dequantize_rows(quantize_rows(values, type, threads=1), type)
        data = data.replace(values.tobytes(), rounded.tobytes())
    (tmp_path / "rounded.gguf").write_bytes(data)
    with GritLM(tmp_path / "rounded.gguf", threads=1) as other:
        after = log_softmax(Scorer(other).logits(chunk, first))
    kl = divergence(log_softmax(before), after).mean()
    assert losses.generate == pytest.approx(kl, rel=1e-3)


def test_dependent_errors_scale_a_types_losses(
    files: dict[str, Path], text: Path, tmp_path: Path
) -> None:
    """The weights came from a Q4_1 file, so rounding errors are the same in all tensors."""
    convert(files["mistral"], tmp_path / "q4_1.gguf", "q4_1")
    convert(tmp_path / "q4_1.gguf", tmp_path / "moved.gguf", "f32")
    with GritLM(tmp_path / "moved.gguf", threads=1, editable=True) as model:
        sample = read_sample(model, [text], limit=1)
        meter = SensitivityMeter(model, sample, {})
        names = [tensor.name for tensor in model.file.tensors if len(tensor.shape) > 1]
        alone = dict(meter.measure(names))
        found = measure_sensitivities(meter, lambda *_: None)
        for type in (Q.Q4_0, Q.Q4_1, Q.Q6_K):
            losses = meter.combined_losses(dict.fromkeys(names, type))
            assert sum(found[name].embed[type] for name in names) == pytest.approx(
                max(losses.embed, sum(alone[name].embed[type] for name in names)), rel=0.01
            )
            assert sum(found[name].generate[type] for name in names) == pytest.approx(
                max(losses.generate, sum(alone[name].generate[type] for name in names)), rel=0.01
            )


def test_more_bits_cost_less(model: GritLM, sample: Sample) -> None:
    for _, found in SensitivityMeter(model, sample, {}).measure(NAMES[:2]):
        for losses in (found.embed, found.generate):
            values = [losses[type] for type in (Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K, Q.Q8_0)]
            assert values == sorted(values, reverse=True)
        assert Q.IQ3_XXS not in found.embed  # it needs an importance matrix


def unit(losses: Losses) -> float:
    return (losses.embed / 0.01 + losses.generate / 0.05) / 2


def test_files_use_the_size_they_are_allowed(model: GritLM, sample: Sample, tmp_path: Path) -> None:
    meter = SensitivityMeter(model, sample, {})
    found = measure_sensitivities(meter, lambda *_: None)
    losses = []
    for size in (model.file.size // part for part in (9, 6, 4)):
        choice = allocate_for_size(meter, found, size, lambda *_: None)
        convert(model.path, tmp_path / "m.gguf", choice.target, types=choice.types, force=True)
        written = read_header(tmp_path / "m.gguf")
        assert 0.8 * size < written.size <= size
        assert {t.name: t.type.name for t in written.tensors if t.name in choice.types} == {
            name: type.name for name, type in choice.types.items()
        }
        losses.append(unit(choice.losses))
        assert unit(allocate_for_loss(meter, found, losses[-1]).losses) <= losses[-1]
    assert losses == sorted(losses, reverse=True)
    with pytest.raises(UsageError, match="a loss of 1e-12 cannot be reached: the largest types"):
        allocate_for_loss(meter, found, 1e-12)


def test_a_size_that_cannot_be_reached(model: GritLM, sample: Sample, tmp_path: Path) -> None:
    """The size that the message gives can be reached."""
    meter = SensitivityMeter(model, sample, {})
    with pytest.raises(UsageError, match="1,000 bytes cannot be reached: the smallest") as raised:
        check_max_size(meter, 1000)
    smallest = int(str(raised.value).split()[-1].replace(",", ""))
    check_max_size(meter, smallest)
    with pytest.raises(UsageError, match="cannot be reached"):
        check_max_size(meter, smallest - 1)


class SummingMeter:
    """A fake SensitivityMeter whose tensors' losses are known and add up exactly."""

    weighted_tensors: tuple[str, ...] = ()

    def __init__(self, file: GGUFFile, found: dict[str, Sensitivity]) -> None:
        self.file = file
        self.measured: list[dict[str, Q]] = []
        self.found = found

    def possible_types(self, info: TensorInfo) -> list[Q]:
        return list(self.found[info.name].embed)

    def combined_losses(self, types: dict[str, Q]) -> Losses:
        self.measured.append(types)
        return Losses(
            sum(self.found[name].embed[type] for name, type in types.items()),
            sum(self.found[name].generate[type] for name, type in types.items()),
        )


def test_the_same_types_are_measured_once(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both tasks lose the same, so every weight chooses the same types."""
    file = read_header(files["mistral"])
    losses = {type: 4.0 ** -(row_bytes(type, 256) / 32) for type in CANDIDATE_TYPES}
    alike = {type: 5 * loss for type, loss in losses.items()}  # 0.05 counts like 0.01
    meter = SummingMeter(file, {i.name: Sensitivity(losses, alike) for i in quantizable(file)})
    monkeypatch.setattr(auto_types, "_MARGIN", 0.0)  # no weight is good enough
    tries = []
    allocate_for_size(meter, meter.found, file.size // 5, lambda done, _: tries.append(done))
    assert len(tries) > 5
    assert len(meter.measured) == 2  # the baseline and the chosen types


def test_rows_that_are_not_whole_blocks_stay_in_floats(text: Path, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "c", "mistral", hidden=64, feed_forward=80)
    convert(checkpoint, tmp_path / "f16.gguf", "f16")
    with GritLM(tmp_path / "f16.gguf", threads=1, editable=True) as model:
        meter = SensitivityMeter(model, read_sample(model, [text], limit=1), {})
        found = measure_sensitivities(meter, lambda *_: None)
        size = model.file.size * 2 // 3
        choice = allocate_for_size(meter, found, size, lambda *_: None)
    assert "blk.0.ffn_up.weight" in choice.types
    assert "blk.0.ffn_down.weight" not in choice.types
    convert(tmp_path / "f16.gguf", tmp_path / "m.gguf", choice.target, types=choice.types)
    assert 0.6 * size < (tmp_path / "m.gguf").stat().st_size <= size


@pytest.mark.parametrize("costly", ["embed", "generate"])
def test_neither_task_loses_more_than_in_the_mixture(
    costly: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One task loses in attention, 100 times as much as the other loses in feed-forward layers."""
    file = read_header(files["mistral"])
    rounding = {
        type: 4.0 ** -(row_bytes(type, 256) / 32) for type in CANDIDATE_TYPES if type != Q.IQ3_XXS
    }
    found = {}
    for info in quantizable(file):
        both = {"embed": 1e-3, "generate": 5e-3}
        both[costly] *= 100 * ("attn" in info.name)
        both["generate" if costly == "embed" else "embed"] *= "ffn" in info.name
        found[info.name] = Sensitivity(
            *({type: both[task] * error for type, error in rounding.items()} for task in both)
        )
    meter = SummingMeter(file, found)
    (mixture,) = (each for each in mixtures(file, ()) if each.target == "q4_k_m")
    size = file.size - sum(info.size for info in quantizable(file)) + mixture.bytes

    def ratios() -> tuple[float, float]:
        choice = allocate_for_size(meter, found, size, lambda *_: None)
        assert choice.baseline == Baseline("q4_k_m", meter.combined_losses(mixture.types))
        return (
            choice.losses.embed / choice.baseline.losses.embed,
            choice.losses.generate / choice.baseline.losses.generate,
        )

    assert max(ratios()) < 1
    monkeypatch.setattr(auto_types, "_BISECTIONS", 0)
    assert max(ratios()) > 1 > min(ratios())


def test_mixtures_match_converted_files(files: dict[str, Path], tmp_path: Path) -> None:
    file = read_header(files["mistral"])
    for mixture in mixtures(file, ()):
        convert(files["mistral"], tmp_path / "m.gguf", mixture.target, force=True)
        written = read_header(tmp_path / "m.gguf")
        types = {info.name: info.type.name for info in quantizable(written)}
        assert types == {name: type.name for name, type in mixture.types.items()}
        unquantized = sum(tensor_bytes(file, info, Q(info.type)) for info in file.tensors)
        unquantized -= sum(tensor_bytes(file, info, Q(info.type)) for info in quantizable(file))
        assert written.data_offset + unquantized + mixture.bytes == written.size


def test_experts_are_rounded_matrix_by_matrix(
    files: dict[str, Path], text: Path, tmp_path: Path
) -> None:
    name = "blk.0.ffn_up_exps.weight"
    weights = np.random.default_rng(0).random((4, 256), np.float32)
    with GritLM(files["mixtral"], threads=1, editable=True) as model:
        sample = read_sample(model, [text], limit=1)
        ((_, plain),) = SensitivityMeter(model, sample, {}).measure([name])
        ((_, weighted),) = SensitivityMeter(model, sample, {name: weights}).measure([name])
        assert Q.IQ3_XXS in weighted.generate
        assert weighted.generate[Q.Q3_K] != plain.generate[Q.Q3_K]
        ones = np.ones((3, 256), np.float32)
        names = (name, name.replace("blk.0", "blk.1"))
        imatrix = Imatrix({each: Activations(ones, ones[:, 0]) for each in names})
        write_imatrix(imatrix, tmp_path / "three.gguf")
        with pytest.raises(FormatError, match="belongs to another model: it has 768 columns"):
            sensitivity_meter(model, [text], tmp_path / "three.gguf")


def test_a_quantized_source_is_refused(files: dict[str, Path], text: Path, tmp_path: Path) -> None:
    convert(files["mistral"], tmp_path / "q8_0.gguf", "q8_0")
    with GritLM(tmp_path / "q8_0.gguf", threads=1, editable=True) as model:
        meter = SensitivityMeter(model, read_sample(model, [text], limit=1), {})
        with pytest.raises(UsageError, match=r"quantized already \(blk\.0\.attn_q\.weight is Q8_0"):
            next(meter.measure(["blk.0.attn_q.weight"]))
