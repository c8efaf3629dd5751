"""The type `auto`: the types that lose least in both tasks together, in a size or within a loss.

A task's loss is counted in units of what `gritlite compare` still calls good, and
the two are averaged. In a size, embedding and generation are weighed anew where either
would lose more than in llama.cpp's own mixture of that size.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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

Progress = Callable[[int, int], None]
Sensitivities = Mapping[str, Sensitivity]

_EQUAL = 0.5  # the weight of embedding beside generation
_HALVINGS = 5  # of the weights between that and one task alone
_MARGIN = 0.95  # of the mixture's loss: other texts than the sample differ by some percent
_NOTHING = 1e-9  # a loss too small to tell from none
_ADDED_KEYS = 4096  # bytes: the importance matrix's name and texts, in the metadata


@dataclass(frozen=True)
class Baseline:
    """One of llama.cpp's mixtures, and what it loses on the same sample."""

    target: str
    losses: Losses

    def beats(self, losses: Losses) -> bool:
        """Whether either task loses less in it."""
        return self.losses.embed < losses.embed or self.losses.generate < losses.generate


@dataclass(frozen=True)
class TypeAllocation:
    """The type of every tensor that is quantized, and what they lose together on the sample.

    `target` is the file type that comes nearest, for the file's metadata. `baseline` is the
    largest of llama.cpp's mixtures in the size that was asked for, if there is one.
    """

    types: Types
    target: str
    losses: Losses
    baseline: Baseline | None = None


def sensitivity_meter(
    model: GritLM, texts: Sequence[Path], imatrix: Path | None
) -> SensitivityMeter:
    """What measures an `editable` model on a sample of texts, weighed as an importance matrix says.

    Raises as `read_sample` and `read_imatrix`, and FormatError for a matrix of another model.
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


def measure_sensitivities(meter: SensitivityMeter, progress: Progress) -> Sensitivities:
    """The sensitivity of every tensor that can be quantized. Raises as `SensitivityMeter.measure`.

    Losses add up while errors have nothing to do with each other. Where they have, all tensors
    in one type lose more together than the sum of what each does, and that type's losses
    are taken as so many times larger: an adapter that was merged into weights which had been Q4_1
    is rounded away again by Q4_1, in all tensors alike.
    """
    names = [info.name for info in quantizable(meter.file)]
    steps = len(names) + len(CANDIDATE_TYPES)
    found: dict[str, Sensitivity] = {}
    for name, sensitivity in meter.measure(names):
        found[name] = sensitivity
        progress(len(found), steps)
    for number, type in enumerate(CANDIDATE_TYPES, 1):
        _scale(found, type, meter)
        progress(len(names) + number, steps)
    return found


def _scale(
    found: dict[str, Sensitivity], type: GGMLQuantizationType, meter: SensitivityMeter
) -> None:
    """Multiply a type's losses by how much more all tensors in it lose together, if more."""
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
    """Raise UsageError if no choice of types makes a file of `max_bytes`. Measures nothing."""
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
    meter: SensitivityMeter, found: Sensitivities, max_bytes: int, progress: Progress
) -> TypeAllocation:
    """What loses least in a file of `max_bytes`, and in neither task more than its baseline.

    The two tasks weigh the same, unless one then loses more than in the baseline: then the
    weights nearest to equal ones are looked for, by halving, with which neither does. If
    there are none, those do whose worse task loses least. Raises as `check_max_size`.
    """
    check_max_size(meter, max_bytes)
    room = _room(meter.file, max_bytes)
    baseline = _baseline(meter, room)
    tried: dict[float, TypeAllocation] = {}

    def worse(weight: float) -> tuple[str, float]:
        """What comes of a weight of embedding: see `_worse`."""
        progress(len(tried) + 1, _HALVINGS + 2)
        chosen = minimize_loss(_options(meter.file, found, weight), room)
        known = (each for each in tried.values() if each.types == _types(chosen))
        tried[weight] = next(known, None) or _choice(meter, chosen, baseline)
        return _worse(tried[weight])

    losing, ratio = worse(_EQUAL)
    near, far = _EQUAL, 1.0 if losing == "embed" else 0.0
    for _ in range(_HALVINGS if ratio > _MARGIN else 0):
        middle = (near + far) / 2
        task, ratio = worse(middle)
        if task == losing and ratio > _MARGIN:
            near = middle
        else:
            far = middle
    progress(_HALVINGS + 2, _HALVINGS + 2)
    best = min(
        tried, key=lambda weight: (max(_worse(tried[weight])[1], _MARGIN), abs(weight - _EQUAL))
    )
    return tried[best]


def allocate_for_loss(
    meter: SensitivityMeter, found: Sensitivities, max_loss: float
) -> TypeAllocation:
    """The smallest that loses at most `max_loss`, all tensors together.

    Where they lose more than the sum of what each does, the sum is held so much lower.
    Raises UsageError if the largest types lose more.
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
    """What a file of `max_bytes` has for the tensors that are quantized."""
    chosen = {info.name for info in quantizable(file)}
    kept = sum(
        tensor_bytes(file, info, GGMLQuantizationType(info.type))
        for info in file.tensors
        if info.name not in chosen
    )
    return max_bytes - file.data_offset - kept - _ADDED_KEYS


def _baseline(meter: SensitivityMeter, room: int) -> Baseline | None:
    """The largest mixture that takes no more, measured; its own keys are not counted."""
    all = mixtures(meter.file, meter.weighted_tensors)
    fitting = [each for each in all if each.bytes <= room + _ADDED_KEYS]
    if not fitting:
        return None
    largest = max(fitting, key=lambda each: each.bytes)
    return Baseline(largest.target, meter.combined_losses(largest.types))


def _worse(choice: TypeAllocation) -> tuple[str, float]:
    """The task that loses more beside the baseline, and how many times as much as in that."""
    if choice.baseline is None:
        return "", 0.0
    ours, theirs = choice.losses, choice.baseline.losses
    ratios = {
        "embed": ours.embed / max(theirs.embed, _NOTHING),
        "generate": ours.generate / max(theirs.generate, _NOTHING),
    }
    return max(ratios.items(), key=lambda each: each[1])


def _in_units(embed: float, generate: float, weight: float) -> float:
    """Both losses as one; `weight` is that of embedding."""
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
