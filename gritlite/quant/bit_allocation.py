"""Allocate bits to tensors: choose each one's type for the least loss in a given size.

The losses of tensors are added, which is accurate while each is small: an error in
the weights moves vectors and probabilities to first order, and both losses are of
second order. The module does not know how a loss was measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gguf.constants import GGMLQuantizationType


@dataclass(frozen=True)
class TypeOption:
    """A type that a tensor could have, its size in bytes, and the model's loss from it."""

    type: GGMLQuantizationType
    bytes: int
    loss: float


@dataclass(frozen=True)
class _Step:
    """A step from one option of a tensor to a larger one; `gain` is the loss saved per byte."""

    tensor: str
    option: TypeOption
    bytes: int
    gain: float


def minimize_loss(
    options: Mapping[str, Sequence[TypeOption]], max_bytes: int
) -> dict[str, TypeOption]:
    """Return each tensor's option for the least total loss in `max_bytes`.

    Takes steps along each tensor's convex hull in the order of their gain per byte,
    the greedy solution of the relaxed knapsack problem. It is exact at every size
    that the steps reach, and off by less than one step at others. If even the
    smallest options do not fit, they are returned.
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
    """Return each tensor's option for the least size with a total loss of at most `max_loss`.

    If `max_loss` cannot be reached, the options with the least loss are returned.
    """
    chosen = {tensor: _hull(each)[0] for tensor, each in options.items()}
    for step in _steps(options):
        if _loss(chosen) <= max_loss:
            return chosen
        chosen[step.tensor] = step.option
    return chosen


def _loss(chosen: Mapping[str, TypeOption]) -> float:
    return sum(option.loss for option in chosen.values())


def _steps(options: Mapping[str, Sequence[TypeOption]]) -> list[_Step]:
    """Return all steps, highest gain first; a convex hull keeps each tensor's own in order."""
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
    return sorted(steps, key=lambda step: -step.gain)


def _hull(options: Sequence[TypeOption]) -> list[TypeOption]:
    """Return the options on the lower convex hull of loss over bytes, smallest first."""
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
