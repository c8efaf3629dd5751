"""Bits where they matter: of each tensor's possible types, those that lose least in a given size.

Losses of tensors add up, which holds while each is small: an error in the weights
moves vectors and probabilities to first order, and both losses are of second.
The module does not know how a loss was measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gguf.constants import GGMLQuantizationType


@dataclass(frozen=True)
class TypeOption:
    """A type that a tensor could have: its bytes then, and what that would cost the model."""

    type: GGMLQuantizationType
    bytes: int
    loss: float


@dataclass(frozen=True)
class _Step:
    """From one option of a tensor to a larger one, worth so much a byte."""

    tensor: str
    option: TypeOption
    bytes: int
    worth: float


def minimize_loss(
    options: Mapping[str, Sequence[TypeOption]], max_bytes: int
) -> dict[str, TypeOption]:
    """The options that lose least in `max_bytes` together.

    Steps along each tensor's convex hull are taken by their worth a byte, the
    greedy answer to the knapsack problem's relaxation; it is exact at every size
    that the steps reach, and at others loses less than one step. Where not
    even the smallest options fit, they are returned.
    """
    chosen = {tensor: _hull(each)[0] for tensor, each in options.items()}
    total = sum(option.bytes for option in chosen.values())
    stuck: set[str] = set()  # its next step is too large, and later ones build on that
    for step in _steps(options):
        if step.tensor not in stuck and total + step.bytes <= max_bytes:
            chosen[step.tensor] = step.option
            total += step.bytes
        else:
            stuck.add(step.tensor)
    return chosen


def minimize_size(
    options: Mapping[str, Sequence[TypeOption]], max_loss: float
) -> dict[str, TypeOption]:
    """The smallest options that lose at most `max_loss` together, or those that lose least."""
    chosen = {tensor: _hull(each)[0] for tensor, each in options.items()}
    for step in _steps(options):
        if _loss(chosen) <= max_loss:
            return chosen
        chosen[step.tensor] = step.option
    return chosen


def _loss(chosen: Mapping[str, TypeOption]) -> float:
    return sum(option.loss for option in chosen.values())


def _steps(options: Mapping[str, Sequence[TypeOption]]) -> list[_Step]:
    """All steps, the worthiest first; a tensor's own come in order, for its hull is convex."""
    steps = [
        _Step(
            tensor,
            after,
            after.bytes - before.bytes,
            (before.loss - after.loss) / (after.bytes - before.bytes),
        )
        for tensor, each in options.items()
        for before, after in pairwise(_hull(each))
    ]
    return sorted(steps, key=lambda step: -step.worth)


def _hull(options: Sequence[TypeOption]) -> list[TypeOption]:
    """The options on the lower convex hull of loss over bytes, from the smallest to the best."""
    hull: list[TypeOption] = []
    for option in sorted(options, key=lambda each: (each.bytes, each.loss)):
        if hull and option.loss >= hull[-1].loss:
            continue  # larger and no better
        while len(hull) > 1 and _lies_above(hull[-2], hull[-1], option):
            hull.pop()
        hull.append(option)
    return hull


def _lies_above(left: TypeOption, middle: TypeOption, right: TypeOption) -> bool:
    """Whether `middle` is on or above the line from `left` to `right`."""
    return (middle.loss - left.loss) * (right.bytes - left.bytes) >= (right.loss - left.loss) * (
        middle.bytes - left.bytes
    )
