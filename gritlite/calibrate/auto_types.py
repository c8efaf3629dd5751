"""The type `auto`: chooses each tensor's type for the least loss of both tasks together.

The limit is a file size or a loss. A task's loss is expressed in units of the largest loss
that `gritlite compare` still calls good, and the two are averaged. For a file size, the
weights of the two tasks are adjusted if either would lose more than in llama.cpp's own
mixture of that size.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gguf.constants import GGMLQuantizationType

from gritlite.calibrate.measures import GOOD_COSINE, GOOD_KL
from gritlite.calibrate.sample import read_sample
from gritlite.calibrate.sensitivity import (
    CANDIDATE_TYPES,
    ImportanceByTensor,
    Losses,
    Sensitivity,
    SensitivityMeter,
)
from gritlite.errors import UsageError
from gritlite.modelfile.header import GGUFFile
from gritlite.quant.bit_allocation import TypeOption, minimize_loss, minimize_size
from gritlite.quant.imatrix import (
    check_layers,
    errors_name_file,
    importance_by_matrix,
    read_imatrix,
)
from gritlite.quant.mixtures import Types, mixtures, quantizable, tensor_bytes
from gritlite.quant.types import TARGETS
from gritlite.runtime.model import GritLM
from gritlite.system.progress import ProgressCallback

Sensitivities = Mapping[str, Sensitivity]

_EQUAL = 0.5  # the weight of embedding at which both tasks count the same
_BISECTIONS = 5  # steps between that weight and one task alone
_MARGIN = 0.95  # of the baseline's loss: on other texts it differs by a few percent
_NEGLIGIBLE = 1e-9  # a loss that cannot be told from none
_METADATA_BYTES = 4096  # reserved for the importance matrix's name and texts


@dataclass(frozen=True)
class Baseline:
    """One of llama.cpp's mixtures, and its losses on the same sample."""

    target: str
    losses: Losses

    def beats(self, losses: Losses) -> bool:
        """Return whether it loses less than `losses` in either task."""
        return self.losses.embed < losses.embed or self.losses.generate < losses.generate


@dataclass(frozen=True)
class TypeAllocation:
    """The type chosen for each quantized tensor, and the losses of all together on the sample.

    `target` is the nearest file type, for the file's metadata. `baseline` is the largest of
    llama.cpp's mixtures that fits the requested size, None if none fits or no size was given.
    """

    types: Types
    target: str
    losses: Losses
    baseline: Baseline | None = None


def sensitivity_meter(
    model: GritLM, texts: Sequence[Path], imatrix: Path | None
) -> SensitivityMeter:
    """Return a meter for an `editable` model, a sample of texts and an importance matrix.

    Raises FormatError for a matrix of another model, and the errors of `read_sample` and
    `read_imatrix`.
    """
    importances = {} if imatrix is None else _importances(imatrix, model.file)
    return SensitivityMeter(model, read_sample(model, texts, limit=1), importances)


def _importances(path: Path, file: GGUFFile) -> ImportanceByTensor:
    read = read_imatrix(path)
    with errors_name_file(path):
        check_layers(read, [info.name for info in file.tensors])
        return {
            info.name: importance_by_matrix(
                read.tensors[info.name].importance,
                info.name,
                info.elements // (info.shape[-1] * info.shape[-2]),
                info.shape[-1],
            )
            for info in file.tensors
            if info.name in read.tensors and len(info.shape) > 1
        }


def measure_sensitivities(meter: SensitivityMeter, progress: ProgressCallback) -> Sensitivities:
    """Return the sensitivity of every tensor that can be quantized.

    Losses add up only while the tensors' rounding errors are independent. If all tensors in
    one type lose more together than the sum of their separate losses, that type's losses are
    scaled up to match. Example: an adapter was merged into weights that had been Q4_1, and
    Q4_1 rounds it away again in every tensor. Raises the errors of `SensitivityMeter.measure`.
    """
    names = [info.name for info in quantizable(meter.file)]
    steps = len(names) + len(CANDIDATE_TYPES)
    found: dict[str, Sensitivity] = {}
    for name, sensitivity in meter.measure(names):
        found[name] = sensitivity
        progress(len(found), steps)
    for number, type in enumerate(CANDIDATE_TYPES, 1):
        _scale_dependent(found, type, meter)
        progress(len(names) + number, steps)
    return found


def _scale_dependent(
    found: dict[str, Sensitivity], type: GGMLQuantizationType, meter: SensitivityMeter
) -> None:
    """Scale a type's losses up if all tensors in that type lose more than their sum."""
    names = [name for name, each in found.items() if type in each.embed]
    if not names:
        return
    losses = meter.combined_losses(dict.fromkeys(names, type))
    embed = losses.embed / (sum(found[name].embed[type] for name in names) or 1.0)
    generate = losses.generate / (sum(found[name].generate[type] for name in names) or 1.0)
    for name in names:
        each = found[name]
        found[name] = Sensitivity(
            {**each.embed, type: each.embed[type] * max(embed, 1.0)},
            {**each.generate, type: each.generate[type] * max(generate, 1.0)},
        )


def check_max_size(meter: SensitivityMeter, max_bytes: int) -> None:
    """Raise UsageError if even the smallest types exceed `max_bytes`. Runs no model."""
    smallest = sum(
        min(tensor_bytes(meter.file, info, type) for type in meter.possible_types(info))
        for info in quantizable(meter.file)
    )
    if smallest > _room(meter.file, max_bytes):
        raise UsageError(
            f"{max_bytes:,} bytes cannot be reached: the smallest types take "
            f"{smallest + max_bytes - _room(meter.file, max_bytes):,}"
        )


def allocate_for_size(
    meter: SensitivityMeter, found: Sensitivities, max_bytes: int, progress: ProgressCallback
) -> TypeAllocation:
    """Return the types with the least loss in a file of at most `max_bytes`.

    Both tasks count the same, unless one would then lose more than in the baseline. In that
    case bisection finds the weights nearest to equal at which neither does. If there are
    none, the weights whose worse task loses least are used. Raises as `check_max_size`.
    """
    check_max_size(meter, max_bytes)
    room = _room(meter.file, max_bytes)
    baseline = _baseline(meter, room)
    tried: dict[float, TypeAllocation] = {}

    def try_weight(weight: float) -> tuple[str, float]:
        """Choose types at this weight of embedding, and return their `_worse_task`."""
        progress(len(tried) + 1, _BISECTIONS + 2)
        chosen = minimize_loss(_options(meter.file, found, weight), room)
        known = (each for each in tried.values() if each.types == _types(chosen))
        tried[weight] = next(known, None) or _choice(meter, chosen, baseline)
        return _worse_task(tried[weight])

    losing, ratio = try_weight(_EQUAL)
    near, far = _EQUAL, 1.0 if losing == "embed" else 0.0
    for _ in range(_BISECTIONS if ratio > _MARGIN else 0):
        middle = (near + far) / 2
        task, ratio = try_weight(middle)
        if task == losing and ratio > _MARGIN:
            near = middle
        else:
            far = middle
    progress(_BISECTIONS + 2, _BISECTIONS + 2)
    best = min(
        tried,
        key=lambda weight: (max(_worse_task(tried[weight])[1], _MARGIN), abs(weight - _EQUAL)),
    )
    return tried[best]


def allocate_for_loss(
    meter: SensitivityMeter, found: Sensitivities, max_loss: float
) -> TypeAllocation:
    """Return the smallest types whose combined loss is at most `max_loss`.

    While the combined loss exceeds it, the bound on the sum of the tensors' losses is
    lowered. Raises UsageError if even the largest types lose more.
    """
    options = _options(meter.file, found, _EQUAL)
    largest = minimize_size(options, 0.0)
    bound = max_loss
    while True:
        chosen = minimize_size(options, bound)
        choice = _choice(meter, chosen)
        loss = _in_units(choice.losses.embed, choice.losses.generate, _EQUAL)
        if loss <= max_loss:
            return choice
        if chosen == largest:
            raise UsageError(
                f"a loss of {max_loss:g} cannot be reached: the largest types lose {loss:.3g}"
            )
        bound = 0.98 * sum(each.loss for each in chosen.values()) * max_loss / loss


def _room(file: GGUFFile, max_bytes: int) -> int:
    """Return the bytes left for quantized tensors in a file of `max_bytes`."""
    chosen = {info.name for info in quantizable(file)}
    unquantized = sum(
        tensor_bytes(file, info, GGMLQuantizationType(info.type))
        for info in file.tensors
        if info.name not in chosen
    )
    return max_bytes - file.data_offset - unquantized - _METADATA_BYTES


def _baseline(meter: SensitivityMeter, room: int) -> Baseline | None:
    """Measure the largest mixture that fits. It needs no room for added metadata."""
    all = mixtures(meter.file, meter.weighted_tensors)
    fitting = [each for each in all if each.bytes <= room + _METADATA_BYTES]
    if not fitting:
        return None
    largest = max(fitting, key=lambda each: each.bytes)
    return Baseline(largest.target, meter.combined_losses(largest.types))


def _worse_task(choice: TypeAllocation) -> tuple[str, float]:
    """Return the task that does worse against the baseline, and its loss over the baseline's."""
    if choice.baseline is None:
        return "", 0.0
    ours, theirs = choice.losses, choice.baseline.losses
    ratios = {
        "embed": ours.embed / max(theirs.embed, _NEGLIGIBLE),
        "generate": ours.generate / max(theirs.generate, _NEGLIGIBLE),
    }
    return max(ratios.items(), key=lambda each: each[1])


def _in_units(embed: float, generate: float, weight: float) -> float:
    """Return the weighted mean of both losses in units of a good one; `weight` is embedding's."""
    return weight * embed / (1 - GOOD_COSINE) + (1 - weight) * generate / GOOD_KL


def _options(file: GGUFFile, found: Sensitivities, weight: float) -> dict[str, list[TypeOption]]:
    return {
        info.name: [
            TypeOption(
                type,
                tensor_bytes(file, info, type),
                _in_units(embed, found[info.name].generate[type], weight),
            )
            for type, embed in found[info.name].embed.items()
        ]
        for info in quantizable(file)
    }


def _choice(
    meter: SensitivityMeter, chosen: Mapping[str, TypeOption], baseline: Baseline | None = None
) -> TypeAllocation:
    sizes: Counter[GGMLQuantizationType] = Counter()
    for option in chosen.values():
        sizes[option.type] += option.bytes
    targets = {target.default_type: name for name, target in reversed(list(TARGETS.items()))}
    known = [targets[type] for type, _ in sizes.most_common() if type in targets]
    types = _types(chosen)
    return TypeAllocation(
        types, known[0] if known else "q4_0", meter.combined_losses(types), baseline
    )


def _types(chosen: Mapping[str, TypeOption]) -> Types:
    return {name: option.type for name, option in chosen.items()}
