"""Where a calibration stands, in one file: the passes done and both modes' sums.

Passes are evaluated in a fixed order, so one that resumes ends with the very
sums of one that was not interrupted. Format: numpy's npz.
"""

from pathlib import Path

import numpy as np

from gritlite.calibrate.activation_sums import ActivationSums
from gritlite.errors import FormatError
from gritlite.system.files import atomic_write


def save(path: Path, run: str, done: int, embed: ActivationSums, generate: ActivationSums) -> None:
    """Write a checkpoint, whole or not at all, in the place of an older one."""
    arrays = {"run": np.array(run), "done": np.array(done)}
    for mode, sums in (("embed", embed), ("generate", generate)):
        for name in sums.sums:
            arrays[f"{mode} sums {name}"] = sums.sums[name]
            arrays[f"{mode} counts {name}"] = sums.counts[name]
    with atomic_write(path, force=True) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub


def load(path: Path, run: str) -> tuple[int, ActivationSums, ActivationSums]:
    """The passes done, and the sums of embedding and of generation.

    Raises FormatError for a file that is no checkpoint, or one of another model,
    text or weight.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        made_by, done = str(arrays.pop("run")), int(arrays.pop("done"))
    except Exception as error:  # zipfile and numpy raise whatever they meet
        raise FormatError(f"{path} is no checkpoint of a calibration: delete it") from error
    if made_by != run:
        raise FormatError(
            f"{path} is of another model, other texts or other options: restore them, or delete it"
        )
    modes = {"embed": ActivationSums(), "generate": ActivationSums()}
    for key, values in arrays.items():
        mode, kind, name = key.split(" ", 2)
        getattr(modes[mode], kind)[name] = values
    return done, modes["embed"], modes["generate"]
