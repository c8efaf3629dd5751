"""A recipe: everything that decides what a training run does, read from a TOML file.

    base = "base"                  # a pulled model, a GGUF file or a Hugging Face folder
    steps = 1000
    attention = "bbcc"             # "cccc" to embed with causal attention, for comparison

    [adapter]
    rank = 16

    [[embed.teacher]]
    folder = "minilm"              # of a sentence encoder, to learn from

    [[source]]
    file = "pairs.jsonl"
    objectives = ["contrastive", "distillation"]
    batch = 32                     # rows in a batch
    share = 2                      # how often, against the other sources of its task

Every step takes one batch of a source that embeds and one of a source that
generates, where there are such, and minimises the weighted sum of their losses.
Paths are relative to the recipe. The module knows nothing of torch.
"""

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from gritlite.errors import FormatError
from gritlite.system.textfiles import read_text

EMBED_OBJECTIVES = ("alignment", "contrastive", "distillation", "listwise", "ranking")
WHITENED_OBJECTIVES = ("alignment", "listwise")  # those for which a teacher's vectors are whitened
TAUGHT_OBJECTIVES = (*WHITENED_OBJECTIVES, "distillation")  # all that learn from one
GENERATE_OBJECTIVES = ("generative", "cached")
ATTENTIONS = ("bbcc", "cccc")
LOSSES = ("token", "sample", "mixed")

T = TypeVar("T")


@dataclass(frozen=True)
class Adapter:
    """Low-rank adapters on every linear layer of the blocks: rank, and alpha of alpha / rank.

    `start` is the folder of an adapter to begin from, of this rank or a smaller one.
    """

    rank: int = 16
    alpha: float = 32.0
    start: str | None = None


@dataclass(frozen=True)
class Schedule:
    """AdamW with warm-up to `learning_rate` and cosine decay to a tenth of it."""

    learning_rate: float = 5e-4
    warmup_steps: int = 20
    weight_decay: float = 0.0
    clip_norm: float = 1.0


@dataclass(frozen=True)
class TeacherShare:
    """A sentence encoder's folder, and what it counts against the other teachers."""

    folder: str
    share: float = 1.0


@dataclass(frozen=True)
class Embed:
    """The weights of the embedding objectives, and the teachers of distillation.

    With `sizes`, the first so many numbers of a vector are trained to serve as one themselves.
    `whitening`, from 0 to 1, is how far the axes of the vectors are made alike at the end, and
    `teacher_whitening` how far those of the teachers' are, for alignment and listwise. `queue` is
    the number of texts of earlier steps that listwise compares a batch with as well.
    `vectors` is the folder that keeps what the teachers say of texts, and the rows' tokens; left
    out, it is in the run's own.
    """

    weight: float = 1.0
    temperature: float = 0.05
    sizes: tuple[int, ...] = ()
    whitening: float = 0.0
    teacher_whitening: float = 0.0
    queue: int = 0
    vectors: str | None = None
    teacher: tuple[TeacherShare, ...] = ()


@dataclass(frozen=True)
class Generate:
    """The weight of the generative loss, and how it is averaged over tokens.

    `imitation`, from 0 to 1, is the part of the loss of `cached` that is the divergence from what
    the model expects after it has read the same documents in a prompt.
    """

    weight: float = 1.0
    loss: str = "mixed"
    imitation: float = 0.0


@dataclass(frozen=True)
class Memory:
    """Memory limits.

    An embedding batch of more than `graph_tokens` tokens goes through gradient
    caching, a part at a time. Left out, it is the model's own (AdaptedModel).
    """

    graph_tokens: int | None = None
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class Source:
    """A file of rows, the objectives trained on it, how often it is used, and how much it counts.

    `weight` multiplies the losses of its batches, beside the weight of its task.
    """

    file: str
    objectives: tuple[str, ...]
    batch: int
    share: float = 1.0
    weight: float = 1.0
    max_tokens: int = 256

    @property
    def embeds(self) -> bool:
        """Whether the source belongs to the embedding task."""
        return self.objectives[0] in EMBED_OBJECTIVES

    @property
    def taught(self) -> bool:
        """Whether a teacher's vectors are learned from."""
        return any(name in TAUGHT_OBJECTIVES for name in self.objectives)

    @property
    def packed(self) -> bool:
        """Whether the file contains token ids and teacher vectors instead of texts."""
        return self.file.endswith(".npz")


@dataclass(frozen=True)
class Recipe:
    """The complete description of a training run."""

    base: str
    steps: int
    source: tuple[Source, ...]
    seed: int = 0
    attention: str = "bbcc"
    checkpoint_steps: int = 50
    adapter: Adapter = field(default_factory=Adapter)
    schedule: Schedule = field(default_factory=Schedule)
    embed: Embed = field(default_factory=Embed)
    generate: Generate = field(default_factory=Generate)
    memory: Memory = field(default_factory=Memory)

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Read and check a recipe.

        Raises FileError if it cannot be read, FormatError that names what is wrong in it.
        """
        try:
            fields = tomllib.loads(read_text(path))
        except tomllib.TOMLDecodeError as error:
            raise FormatError(f"{path} is not TOML: {error}") from error
        try:
            recipe = _read(cls, fields, "")
            _check(recipe)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error
        return recipe

    @property
    def embeds(self) -> bool:
        """Whether a source belongs to the embedding task."""
        return any(source.embeds for source in self.source)

    @property
    def projects(self) -> bool:
        """Whether a run finds a projection of the vectors at its end."""
        return self.embeds and (bool(self.embed.sizes) or self.embed.whitening > 0)

    def to_toml(self) -> str:
        """Return the recipe as TOML with every value written out."""
        parts = _lines(self)
        for name in _TABLES:
            parts += ["", f"[{name}]", *_lines(getattr(self, name))]
        for teacher in self.embed.teacher:
            parts += ["", "[[embed.teacher]]", *_lines(teacher)]
        for source in self.source:
            parts += ["", "[[source]]", *_lines(source)]
        return "\n".join(parts) + "\n"


_TABLES = ("adapter", "schedule", "embed", "generate", "memory")
_LISTS = ("source", "teacher")


def _lines(table: Any) -> list[str]:
    """Return the lines of a table's plain values; JSON and TOML spell these alike."""
    values = {entry.name: getattr(table, entry.name) for entry in dataclasses.fields(table)}
    return [
        f"{name} = {json.dumps(value, ensure_ascii=False)}"
        for name, value in values.items()
        if value is not None and name not in (*_TABLES, *_LISTS)
    ]


def _read(kind: type[T], fields: Mapping[str, Any], place: str) -> T:
    """Build a dataclass from a table; every key must be known and every value of its type."""
    known = {entry.name: entry for entry in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in fields:
        if name not in known:
            raise FormatError(f"{place}{name} is not known: known are {', '.join(known)}")
    for name, entry in known.items():
        required = (
            entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        )
        if required and name not in fields:
            raise FormatError(f"{place}{name} is missing")
    return kind(
        **{name: _value(known[name].type, value, place + name) for name, value in fields.items()}
    )


def _value(kind: Any, value: Any, place: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise FormatError(f"{place} is not a table")
        return _read(kind, value, place + ".")  # type: ignore[arg-type]
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if not isinstance(value, list):
            wanted = f"[[{place}]] tables" if dataclasses.is_dataclass(item) else "a list"
            raise FormatError(f"{place} is {value!r}: expected {wanted}")
        return tuple(_value(item, part, place) for part in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    allowed = get_args(kind) or (kind,)
    if type(value) not in allowed:
        names = " or ".join(one.__name__ for one in allowed if one is not type(None))
        raise FormatError(f"{place} is {value!r}: expected {names}")
    return value


def _check(recipe: Recipe) -> None:
    """Raise FormatError for invalid values."""
    _one_of("attention", recipe.attention, ATTENTIONS)
    _one_of("generate.loss", recipe.generate.loss, LOSSES)
    for name, part in (
        ("embed.whitening", recipe.embed.whitening),
        ("embed.teacher_whitening", recipe.embed.teacher_whitening),
        ("generate.imitation", recipe.generate.imitation),
    ):
        if not 0 <= part <= 1:
            raise FormatError(f"{name} is {part}: expected a number from 0 to 1")
    if recipe.embed.queue < 0:
        raise FormatError(f"embed.queue is {recipe.embed.queue}: expected a number of texts, or 0")
    positive = {
        "steps": recipe.steps,
        "checkpoint_steps": recipe.checkpoint_steps,
        "adapter.rank": recipe.adapter.rank,
        "schedule.learning_rate": recipe.schedule.learning_rate,
        "embed.temperature": recipe.embed.temperature,
    }
    if recipe.memory.graph_tokens is not None:
        positive["memory.graph_tokens"] = recipe.memory.graph_tokens
    for source in recipe.source:
        positive |= {
            f"batch of {source.file}": source.batch,
            f"share of {source.file}": source.share,
            f"weight of {source.file}": source.weight,
            f"max_tokens of {source.file}": source.max_tokens,
        }
    for size in recipe.embed.sizes:
        positive[f"{size} of embed.sizes"] = size
    for teacher in recipe.embed.teacher:
        positive[f"share of the teacher {teacher.folder}"] = teacher.share
    for name, number in positive.items():
        if number <= 0:
            raise FormatError(f"{name} is {number}: expected more than 0")
    if not recipe.source:
        raise FormatError("there is no [[source]] to learn from")
    for source in recipe.source:
        _check_source(source)
    for source in recipe.source:
        if source.taught and not source.packed and not recipe.embed.teacher:
            raise FormatError(f"embed.teacher is missing: {source.file} is learned from one")


def _check_source(source: Source) -> None:
    if not source.objectives:
        raise FormatError(f"{source.file} has no objectives")
    for objective in source.objectives:
        _one_of(f"an objective of {source.file}", objective, EMBED_OBJECTIVES + GENERATE_OBJECTIVES)
    generative = [name for name in source.objectives if name in GENERATE_OBJECTIVES]
    if generative and len(source.objectives) > 1:
        raise FormatError(
            f"{source.file}: {generative[0]!r} cannot be combined with other objectives"
        )


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise FormatError(f"{name} is {value!r}: expected one of {', '.join(known)}")
