"""Log a training run: a line of JSON for each step, and a plot of the losses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gritlite.system.files import atomic_write


@dataclass(frozen=True)
class Step:
    """One step: `losses` by objective, number of `tokens`, and duration in `seconds`.

    `computed` says how: the device, the precision, and whether sequences were packed.
    """

    step: int
    losses: Mapping[str, float]
    learning_rate: float
    tokens: int
    seconds: float
    computed: str = ""

    def to_json(self) -> str:
        """Return the step as one line of JSON."""
        return json.dumps(asdict(self))


def write_log(path: Path, steps: Sequence[Step]) -> None:
    """Write all steps as JSON Lines."""
    with atomic_write(path, force=True) as file:
        file.writelines(f"{step.to_json()}\n".encode() for step in steps)


def write_curve(path: Path, steps: Sequence[Step]) -> None:
    """Plot every step's loss and a running median to a PNG, with a panel per objective."""
    from matplotlib.figure import Figure

    names = sorted({name for step in steps for name in step.losses})
    figure = Figure(figsize=(8, 2.4 * len(names)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(names), sharex=True))
    for panel, name in zip(panels, names, strict=True):
        places = [step.step for step in steps if name in step.losses]
        values = [step.losses[name] for step in steps if name in step.losses]
        panel.plot(places, values, ".", markersize=2, alpha=0.5)
        panel.plot(places, running_median(values), linewidth=1.5)
        panel.set_ylabel(name)
        panel.grid(alpha=0.3)
    panels[-1].set_xlabel("step")
    with atomic_write(path, force=True) as file:
        figure.savefig(file, format="png", dpi=120)


def running_median(values: Sequence[float], window: int = 25) -> list[float]:
    """Return the median of each value and up to `window` - 1 values before it."""
    return [
        float(np.median(values[max(0, end - window) : end])) for end in range(1, len(values) + 1)
    ]
