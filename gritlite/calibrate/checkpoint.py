"""Calibration checkpoints: the number of passes done and both modes' sums, in one file.

Passes are evaluated in a fixed order, so a resumed calibration gives the same sums, bit
for bit, as an uninterrupted one. Format: numpy's npz.
"""

from pathlib import Path

import numpy as np

from gritlite.calibrate.activation_sums import ActivationSums
from gritlite.errors import FormatError
from gritlite.system.files import atomic_write


def save(
    path: Path, fingerprint: str, done: int, embed: ActivationSums, generate: ActivationSums
) -> None:
    """Write a checkpoint atomically, replacing an older one.

    `fingerprint` identifies the calibration, and `done` counts its finished passes.
    """
    arrays = {"run": np.array(fingerprint), "done": np.array(done)}
    for mode, sums in (("embed", embed), ("generate", generate)):
        for name in sums.sums:
            arrays[f"{mode} sums {name}"] = sums.sums[name]
            arrays[f"{mode} counts {name}"] = sums.counts[name]
    with atomic_write(path, force=True) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub


def load(path: Path, fingerprint: str) -> tuple[int, ActivationSums, ActivationSums]:
    """Return the number of passes done, and the sums of embedding and of generation.

    Raises FormatError for a file that is not a checkpoint, or whose model, texts or weight
    differ.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        stored_fingerprint, done = str(arrays.pop("run")), int(arrays.pop("done"))
    except Exception as error:  # zipfile and numpy raise errors of many types
        raise FormatError(f"{path} is not a calibration checkpoint: delete it") from error
    if stored_fingerprint != fingerprint:
        raise FormatError(
            f"{path} was made with another model, texts or options: restore them, or delete it"
        )
    modes = {"embed": ActivationSums(), "generate": ActivationSums()}
    for key, values in arrays.items():
        mode, kind, name = key.split(" ", 2)
        getattr(modes[mode], kind)[name] = values
    return done, modes["embed"], modes["generate"]
