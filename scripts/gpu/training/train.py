"""Train from packed parts within some minutes, and leave files small enough to bring back.

    scripts/gpu/train build/gpu/train/1            keeps the part, and says what is missing
    scripts/gpu/train build/gpu/train/2            brings the last one, and trains
    scripts/gpu/train build/gpu/train/2 STATE      goes on from the state files of an earlier run

In OUTPUT: adapter/ as PEFT loads it, loss.jsonl, train.json with the figures, and state-*, the
checkpoint in parts. The first two are written on the way too, so that a machine that is taken
away loses little. Knows nothing of texts or tokenizers.
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gritlite.errors import GritLiteError, OutOfMemoryError, UsageError
from training.parts import archive, cut, join, keep, missing

if TYPE_CHECKING:
    from gritlite.train.recipe import Recipe
    from gritlite.train.trainer import Trainer

FILE_BYTES = 16 << 20  # of a file that is brought back
ALL_BYTES = 64 << 20
STATE_FILES = 3  # beside the adapter's three, the log and the figures: 8 in all, which come back
RESERVE = 30.0  # seconds for the last files
PROBE_STEPS = 24  # in which every source of the default recipe had its turn
WARM_STEPS = 4  # of these, which are slower than those that follow
LEAST_TOKENS = 512  # of a graph: the longest sequence of the default recipe fits


def main() -> None:
    """Parse the command line; keep parts, or train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", type=Path, help="parts, or folders of them")
    parser.add_argument("--minutes", type=float, default=7.0, help="for all of it (7)")
    parser.add_argument("--steps", type=int, help="train so many, instead of what minutes allow")
    parser.add_argument(
        "--store", type=Path, default=Path(tempfile.gettempdir()) / "gritlite-train"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(os.environ.get("OUT", "build/gpu/out"))
    )
    options = parser.parse_args()
    started = time.monotonic()
    try:
        keep(options.parts, options.store)
        if lacking := missing(options.store, "pack"):
            print(f"kept in {options.store}; still missing: {', '.join(lacking)}")
            return
        packed = join(options.store, "pack")
        assert packed is not None
        sys.path.insert(0, str(packed / "site"))
        place_state(options.store, packed / "run")
        deadline = started + options.minutes * 60 - RESERVE
        train(packed, options.output, deadline, options.steps)
    except (GritLiteError, OSError) as error:
        sys.exit(f"error: {error}")


def place_state(store: Path, run: Path) -> None:
    """Put the checkpoint of state files, if there are all of any, where a run looks for it."""
    if not list(store.glob("state-*")):
        return
    if lacking := missing(store, "state"):
        raise UsageError(f"these state files are missing: {', '.join(lacking)}")
    state = join(store, "state")
    assert state is not None
    shutil.copytree(state, run, dirs_exist_ok=True)


def train(packed: Path, output: Path, deadline: float, steps: int | None) -> None:
    """Train until `deadline` (of time.monotonic), or to the recipe's last step."""
    from gritlite.train.recipe import Recipe
    from gritlite.train.run import save_adapter
    from gritlite.train.trainer import Trainer

    saved = packed / "run" / "checkpoint.pt"
    sized = packed / "run" / "recipe.toml"
    sized.parent.mkdir(exist_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    if not saved.exists():
        recipe = fitted(packed, Recipe.read(packed / "recipe.toml"), deadline, steps)
        sized.write_text(recipe.to_toml(), encoding="utf-8")
    recipe = Recipe.read(sized)
    loading = time.monotonic()
    trainer = Trainer(recipe, packed / recipe.base, packed)
    if saved.exists():
        trainer.resume(saved)
    figures = Figures(trainer, time.monotonic() - loading)
    longest = 0.0
    for step in trainer.run():
        longest = max(longest, step.seconds)
        print(step.to_json(), flush=True)
        is_late = time.monotonic() + longest > deadline
        if is_late or step.step % recipe.checkpoint_steps == 0 or step.step == recipe.steps:
            figures.write(output)
            save_adapter(trainer, output / "adapter")
        if is_late:
            break
    if len(trainer.steps) == recipe.steps and recipe.projects:
        for _ in trainer.find_projection():
            pass
        save_adapter(trainer, output / "adapter")
    trainer.save(saved)
    figures.write(output, state=write_state(saved.parent, output))
    print(f"{output}: {len(trainer.steps):,} of {recipe.steps:,} steps", file=sys.stderr)


def fitted(packed: Path, recipe: "Recipe", deadline: float, steps: int | None) -> "Recipe":
    """The recipe with as much of a batch at once, and as many steps, as card and time allow.

    A few steps are run for it and forgotten. Raises UsageError where there is time for none.
    """
    from gritlite.train.card import graph_tokens
    from gritlite.train.trainer import Trainer

    loading = time.monotonic()
    trainer = Trainer(recipe, packed / recipe.base, packed)
    loading = time.monotonic() - loading
    memory = dataclasses.replace(recipe.memory, graph_tokens=graph_tokens(trainer.model))
    recipe = dataclasses.replace(recipe, memory=memory)
    if steps is not None:
        return dataclasses.replace(recipe, steps=steps)
    trainer.recipe = recipe
    tried = probed(trainer)
    seconds = statistics.mean(tried[WARM_STEPS:] or tried)
    left = deadline - time.monotonic() - loading
    if left < seconds:
        raise UsageError(f"no time is left for a step of {seconds:.1f} s: give more --minutes")
    return dataclasses.replace(trainer.recipe, steps=min(recipe.steps, int(left / seconds)))


def probed(trainer: "Trainer") -> list[float]:
    """The seconds of a few steps; less of a batch is taken at once until the memory holds it.

    Raises OutOfMemoryError when it does not hold even LEAST_TOKENS.
    """
    import torch

    while True:
        try:
            return [step.seconds for step in islice(trainer.run(), PROBE_STEPS)]
        except torch.OutOfMemoryError as error:
            if trainer.graph_tokens < 2 * LEAST_TOKENS:
                raise OutOfMemoryError(f"the memory does not hold a step: {error}") from error
            halved = trainer.graph_tokens // 2
            memory = dataclasses.replace(trainer.recipe.memory, graph_tokens=halved)
            trainer.recipe = dataclasses.replace(trainer.recipe, memory=memory)
            print(f"out of memory: {halved:,} tokens at once", file=sys.stderr)


class Figures:
    """What a run measures, in train.json, and every step in loss.jsonl."""

    def __init__(self, trainer: "Trainer", load_seconds: float) -> None:
        self._trainer = trainer
        self._load_seconds = load_seconds
        self._earlier = len(trainer.steps)

    def write(self, output: Path, **more: object) -> None:
        """Write both files, the figures with `more` of them."""
        from gritlite.system.files import atomic_write
        from gritlite.train.loss_log import write_log

        write_log(output / "loss.jsonl", self._trainer.steps)
        with atomic_write(output / "train.json", force=True) as file:
            file.write(json.dumps(self._all() | more, indent=2).encode() + b"\n")

    def _all(self) -> dict[str, Any]:
        trainer, steps = self._trainer, self._trainer.steps
        own = steps[self._earlier :]
        tokens, seconds = sum(step.tokens for step in own), sum(step.seconds for step in own)
        return {
            "part": "train",
            **device(trainer.model.device),
            "steps": len(steps),
            "steps_resumed": self._earlier,
            "steps_of_recipe": trainer.recipe.steps,
            "rows": {one.source.file: len(one.rows) for one in trainer.examples},
            "tokens": tokens,
            "seconds": round(seconds, 2),
            "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
            "load_seconds": round(self._load_seconds, 2),
            "graph_tokens": trainer.graph_tokens,
            "losses": summarized([step.losses for step in steps]),
        }


def device(used: Any) -> dict[str, object]:
    """What was trained on, and the most memory of it that was in use, in bytes."""
    import torch
    import transformers

    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if used.type == "cuda":
        return {
            **versions,
            "device": "gpu",
            "name": torch.cuda.get_device_name(used),
            "memory": torch.cuda.get_device_properties(used).total_memory,
            "memory_peak": torch.cuda.max_memory_allocated(used),
        }
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        **versions,
        "device": "cpu",
        "name": f"{processor()}, {torch.get_num_threads()} threads",
        "memory_peak": peak,
    }


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def summarized(losses: Sequence[Mapping[str, float]], window: int = 10) -> dict[str, Any]:
    """Of each objective the mean over its first and its last `window` steps."""
    names = sorted({name for step in losses for name in step})
    values = {name: [step[name] for step in losses if name in step] for name in names}
    return {
        name: {
            "first": round(statistics.mean(found[:window]), 4),
            "last": round(statistics.mean(found[-window:]), 4),
        }
        for name, found in values.items()
    }


def write_state(run: Path, output: Path) -> str:
    """Bring checkpoint and recipe as parts; returns "whole", or why they stay behind."""
    others = [path for path in output.rglob("*") if path.is_file() and "state-" not in path.name]
    room = min(STATE_FILES * FILE_BYTES, ALL_BYTES - sum(path.stat().st_size for path in others))
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "state.tar.gz"
        archive(run, whole, level=1)
        size = whole.stat().st_size
        if size > room:
            return f"left behind: it has {size:,} bytes, and there is room for {room:,}"
        cut(whole, output, "state", FILE_BYTES)
    return "whole"


if __name__ == "__main__":
    main()
