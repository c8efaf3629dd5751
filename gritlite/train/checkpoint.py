"""Checkpoints of a training run, in one file: adapters, optimizer state, steps done, kept tensors.

Data order and learning rate follow from the recipe and the step, and nothing is
random besides, so a run that resumes gives the same adapters, bit for bit, as
one that was not interrupted (on the same machine and library versions).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from gritlite.errors import FormatError
from gritlite.system.files import atomic_write, sha256
from gritlite.train.loss_log import Step
from gritlite.train.recipe import Recipe
from gritlite.train.whitened import Whitened

NAME = "checkpoint.pt"
_VERSION = 1  # of what a checkpoint holds


def fingerprint(recipe: Recipe, rows: Sequence[Path]) -> str:
    """Return a digest of everything that must be the same when a run is resumed."""
    somewhere = replace(recipe, embed=replace(recipe.embed, vectors=None))  # wherever they are
    digest = hashlib.sha256(json.dumps(asdict(somewhere), sort_keys=True).encode())
    for path in rows:
        digest.update(bytes.fromhex(sha256(path)))
    return digest.hexdigest()


def save(
    path: Path,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    steps: Sequence[Step],
    kept: Whitened,
    run: str,
) -> None:
    """Write a checkpoint atomically."""
    state = {
        "version": _VERSION,
        "run": run,
        "parameters": {name: p.detach().cpu() for name, p in parameters.items()},
        "optimizer": optimizer.state_dict(),
        "steps": [asdict(step) for step in steps],
        "whitened": kept.state(),
    }
    with atomic_write(path, force=True) as file:
        torch.save(state, file)


def load(
    path: Path,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    kept: Whitened,
    run: str,
) -> list[Step]:
    """Restore parameters, optimizer state and what steps keep from a checkpoint.

    Returns the steps done.

    Raises FormatError for a file that is not a checkpoint, was made by another version of
    gritlite, or belongs to another recipe or other data.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        made_by = state.get("version", 0)  # the first checkpoints had none
        stored = state["run"]
    except Exception as error:  # torch raises whatever its unpickler meets
        raise FormatError(f"{path} is not a checkpoint: {error}") from error
    if made_by != _VERSION:
        raise FormatError(
            f"{path} was made by another version of gritlite: end the run with that, or start "
            "again in another folder"
        )
    if stored != run:
        raise FormatError(
            f"{path} was made by another recipe or from other data: restore them, "
            "or start again in another folder"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state["parameters"][name])
    optimizer.load_state_dict(state["optimizer"])
    kept.restore(state["whitened"])
    return [Step(**step) for step in state["steps"]]
