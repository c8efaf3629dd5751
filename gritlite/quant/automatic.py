"""`--type auto`: the types that lose least in both tasks together, in a size or within a loss.

A task's loss is counted in units of what `gritlite compare` still calls good, and
the two are averaged.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gguf.constants import GGMLQuantizationType

from gritlite.errors import UsageError
from gritlite.modelfile.header import GGUFFile, TensorInfo
from gritlite.quant.allocation import Option, smallest_loss, smallest_size
from gritlite.quant.choices import TensorFacts, is_quantizable
from gritlite.quant.fidelity.report import GOOD_COSINE, GOOD_KL
from gritlite.quant.fidelity.sample import Sample
from gritlite.quant.imatrix import read_imatrix
from gritlite.quant.sensitivity import TYPES, Importances, Sensitivity, SensitivityMeter
from gritlite.quant.types import TARGETS, row_bytes
from gritlite.runtime.model import GritLM

Types = dict[str, GGMLQuantizationType]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Choice:
    """The type of every tensor that is quantized, and the losses that are to be expected.

    `target` is the file type that comes nearest, for the file's metadata.
    """

    types: Types
    target: str
    embed_loss: float
    generate_loss: float


def read_importances(path: Path) -> Importances:
    """Those of an importance matrix's file. Raises as `read_imatrix`."""
    return {name: each.importance for name, each in read_imatrix(path).tensors.items()}


def measure(
    model: GritLM, sample: Sample, importances: Importances, progress: Progress
) -> dict[str, Sensitivity]:
    """The sensitivity of every tensor that can be quantized. Raises as `SensitivityMeter`.

    Losses add up while errors have nothing to do with each other. Where they have, all tensors
    in one type lose more together than the sum of what each does, and that type's losses
    are taken as so many times larger: an adapter that was merged into weights which had been Q4_1
    is rounded away again by Q4_1, in all tensors alike.
    """
    names = [info.name for info in _quantizable(model.file)]
    meter = SensitivityMeter(model, sample, importances)
    steps = len(names) + len(TYPES)
    found: dict[str, Sensitivity] = {}
    for name, sensitivity in meter.run(names):
        found[name] = sensitivity
        progress(len(found), steps)
    for number, type in enumerate(TYPES, 1):
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
    embed, generate = meter.together(names, type)
    embed /= sum(found[name].embed[type] for name in names) or 1.0
    generate /= sum(found[name].generate[type] for name in names) or 1.0
    for name in names:
        each = found[name]
        found[name] = Sensitivity(
            {**each.embed, type: each.embed[type] * max(embed, 1.0)},
            {**each.generate, type: each.generate[type] * max(generate, 1.0)},
        )


def fit_size(file: GGUFFile, found: Mapping[str, Sensitivity], max_bytes: int) -> Choice:
    """What loses least in a file of `max_bytes`. Raises UsageError if it cannot be so small."""
    fixed = file.size - sum(info.size for info in _quantizable(file))
    padding = file.alignment * len(file.tensors)  # at most so much more
    options = _options(file, found)
    smallest = fixed + padding + sum(min(each.bytes for each in one) for one in options.values())
    if max_bytes < smallest:
        raise UsageError(
            f"{max_bytes:,} bytes cannot be reached: the smallest types take {smallest:,}"
        )
    chosen = smallest_loss(options, max_bytes - fixed - padding)
    return _choice(chosen, found)


def fit_loss(file: GGUFFile, found: Mapping[str, Sensitivity], max_loss: float) -> Choice:
    """The smallest that loses at most `max_loss`. Raises UsageError if all lose more."""
    return _choice(smallest_size(_options(file, found), max_loss), found)


def _quantizable(file: GGUFFile) -> list[TensorInfo]:
    return [info for info in file.tensors if is_quantizable(TensorFacts(info.name, info.shape))]


def _options(file: GGUFFile, found: Mapping[str, Sensitivity]) -> dict[str, list[Option]]:
    return {
        info.name: [
            Option(
                type,
                info.elements // info.shape[-1] * row_bytes(type, info.shape[-1]),
                (embed / (1 - GOOD_COSINE) + found[info.name].generate[type] / GOOD_KL) / 2,
            )
            for type, embed in found[info.name].embed.items()
        ]
        for info in _quantizable(file)
    }


def _choice(chosen: Mapping[str, Option], found: Mapping[str, Sensitivity]) -> Choice:
    sizes: Counter[GGMLQuantizationType] = Counter()
    for option in chosen.values():
        sizes[option.type] += option.bytes
    targets = {target.default_type: name for name, target in reversed(list(TARGETS.items()))}
    known = [targets[type] for type, _ in sizes.most_common() if type in targets]
    return Choice(
        {name: option.type for name, option in chosen.items()},
        known[0] if known else "q4_0",
        sum(found[name].embed[option.type] for name, option in chosen.items()),
        sum(found[name].generate[option.type] for name, option in chosen.items()),
    )
