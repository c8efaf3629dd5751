"""Run a training recipe and write the adapter and its logs to a folder.

DIR/adapter/        adapter_config.json and adapter_model.safetensors, as PEFT loads them, and
                    projection.npy, if vectors are to be cut or whitened
DIR/adapter.gguf    the same for llama.cpp
DIR/loss.jsonl      every step's figures        DIR/loss.png   the curve
DIR/recipe.toml     the recipe                  DIR/checkpoint.pt   to resume from
DIR/vectors/        teachers' vectors and rows' tokens, if the recipe names no other folder for them
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save as to_safetensors

from gritlite.convert.adapter_gguf import write_adapter
from gritlite.errors import FileError, OutputExistsError, UsageError
from gritlite.prompt import ATTENTION_KEY, SIZES_KEY, TRAINED_KEY
from gritlite.system.files import atomic_write
from gritlite.system.locate import locate
from gritlite.system.progress import ProgressCallback, no_progress
from gritlite.train import checkpoint
from gritlite.train.loss_log import Step, write_curve, write_log
from gritlite.train.projection import write_projection
from gritlite.train.recipe import Recipe
from gritlite.train.trainer import Trainer


@dataclass(frozen=True)
class TrainingReport:
    """What a run did. `left_out` counts the rows per source that exceeded its `max_tokens`."""

    folder: Path
    steps: int
    finished: bool
    left_out: dict[str, int]


def train(
    recipe_path: Path,
    folder: Path,
    *,
    resume: bool = False,
    on_teach: ProgressCallback = no_progress,
    on_align: ProgressCallback = no_progress,
    on_start: ProgressCallback = no_progress,
    on_projection: ProgressCallback = no_progress,
    on_step: Callable[[Step], None] = lambda _step: None,
    stopping: Callable[[], bool] = lambda: False,
) -> TrainingReport:
    """Run a recipe in `folder`, which is created; with `resume`, continue from its checkpoint.

    `on_teach` receives the teachers' vectors made and in total, if any are missing;
    `on_align` the texts embedded and in total, if vectors are aligned with theirs;
    `on_start` the steps done and in total, `on_step` the result of each step, and
    `on_projection`, at the end, the texts embedded and in total, if vectors are to be cut or
    whitened. `stopping` is called between steps; a run that it stops leaves a checkpoint, and
    the vectors. Everything else is written when the last step is done.

    Raises OutputExistsError if the folder already contains a run, FormatError and
    FileError for what cannot be read, ArchitectureError for a base or teacher
    that transformers cannot load.
    """
    recipe = Recipe.read(recipe_path)
    saved = folder / checkpoint.NAME
    _check_folder(folder, saved, resume=resume)
    base = find_base(recipe, recipe_path.parent)
    vectors = vectors_folder(recipe, recipe_path.parent, folder)
    trainer = Trainer(recipe, base, recipe_path.parent, vectors)
    if resume:
        trainer.resume(saved)
    folder.mkdir(parents=True, exist_ok=True)
    prepared = _follow(trainer.teach(), on_teach, stopping)
    if not (prepared and _follow(trainer.align(), on_align, stopping)):
        trainer.save(saved)
        return TrainingReport(folder, len(trainer.steps), False, {})
    on_start(len(trainer.steps), recipe.steps)
    for step in trainer.run():
        on_step(step)
        stops = stopping()
        if stops or step.step % recipe.checkpoint_steps == 0 or step.step == recipe.steps:
            trainer.save(saved)
            write_log(folder / "loss.jsonl", trainer.steps)
        if stops:
            break
    finished = len(trainer.steps) == recipe.steps
    if finished and recipe.projects:
        finished = _follow(trainer.find_projection(), on_projection, stopping)
    if finished:
        write_curve(folder / "loss.png", trainer.steps)
        shutil.copyfile(recipe_path, folder / "recipe.toml")
        save_adapter(trainer, folder / "adapter")
        write_adapter(folder / "adapter", base, folder / "adapter.gguf", force=True)
    left_out = {one.source.file: one.left_out for one in trainer.examples if one.left_out}
    return TrainingReport(folder, len(trainer.steps), finished, left_out)


def _follow(
    work: Iterator[tuple[int, int]], progress: ProgressCallback, stopping: Callable[[], bool]
) -> bool:
    """Do the work; False if `stopping` ended it before."""
    for done, total in work:
        progress(done, total)
        if done < total and stopping():
            return False
    return True


def vectors_folder(recipe: Recipe, folder: Path, run: Path) -> Path:
    """Return where the teachers' vectors are: named by the recipe in `folder`, or in `run`."""
    named = recipe.embed.vectors
    return run / "vectors" if named is None else folder / named


def save_adapter(trainer: Trainer, folder: Path) -> None:
    """Save the adapters in PEFT's format, in float16, and the vectors' projection."""
    from peft import get_peft_model_state_dict

    folder.mkdir(exist_ok=True)
    config = trainer.model.peft.peft_config["default"]
    config.inference_mode = True
    config.base_model_name_or_path = trainer.recipe.base
    config.save_pretrained(folder)
    # the embeddings are frozen: "auto" would ask a model hub whether they are the base's own
    state = get_peft_model_state_dict(trainer.model.peft, save_embedding_layers=False)
    halves = {name: tensor.to(torch.float16).contiguous().cpu() for name, tensor in state.items()}
    with atomic_write(folder / "adapter_model.safetensors", force=True) as file:
        file.write(with_sorted_metadata(halves, {"format": "pt"} | _said_of(trainer.recipe)))
    if trainer.projection is not None:
        write_projection(folder, trainer.projection)


def with_sorted_metadata(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> bytes:
    """The tensors as a safetensors file whose bytes depend on what it holds only.

    The library writes the keys of the metadata in an order that changes from call to call.
    """
    data: bytes = to_safetensors(tensors, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end]) | {"__metadata__": dict(sorted(metadata.items()))}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def _said_of(recipe: Recipe) -> dict[str, str]:
    """What the adapter's file says: whether, how, and in which sizes it was trained to embed."""
    if not recipe.embeds:
        return {}
    sizes = {SIZES_KEY: " ".join(map(str, recipe.embed.sizes))} if recipe.embed.sizes else {}
    attention = "bidirectional" if recipe.attention == "bbcc" else "causal"
    return {TRAINED_KEY: "true", ATTENTION_KEY: attention} | sizes


def _check_folder(folder: Path, saved: Path, *, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder} is not a folder: name a folder for the run")
    if resume and not saved.exists():
        raise UsageError(
            f"{folder} holds no checkpoint to resume from: name the folder of an interrupted run"
        )
    if not resume and saved.exists():
        raise OutputExistsError(f"{folder} holds a run already")


def find_base(recipe: Recipe, folder: Path) -> Path:
    """Locate the base of a recipe whose paths are relative to `folder`. Raises FileError."""
    beside = folder / recipe.base
    return beside if beside.exists() else locate(recipe.base)
