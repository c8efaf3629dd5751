"""The settings of a store: what the caller asks for, and what the store keeps."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

from gritlite.errors import FormatError, UsageError
from gritlite.modelfile.fingerprint import is_sampled
from gritlite.rag.checksums import row_checksum
from gritlite.rag.database import Database
from gritlite.rag.state_codec import shape_of
from gritlite.rag.state_quantization import StateType
from gritlite.rag.vectors import VectorType, check_vector_type
from gritlite.runtime.any_model import AnyModel

StateTypeOrNone = StateType | Literal["none"]

DEFAULT_CHUNK_TOKENS = 256
_MIN_CHUNK_TOKENS = 32


_CHECKSUM = "checksum"
_ADDED = {"sampled_fingerprint": "", "dimensions": "0"}  # that stores of earlier versions lack


@dataclass(frozen=True)
class Settings:
    """The model's path and fingerprint, and how a store keeps what it keeps.

    `chunk_tokens` limits a chunk, `states` is the type of key-value states ("none": they
    are not kept), `states_budget` the most bytes of all states, 0 for no limit. `main_text`
    is whether web pages are read without navigation, headers and footers. `dimensions` is how
    many of a vector's numbers are kept, 0 for all. A store that was made by an earlier version
    has the `sampled_fingerprint` under which it knew its model. The
    names of the fields are those in the database.
    """

    model: str
    fingerprint: str
    vectors: VectorType
    chunk_tokens: int
    states: StateTypeOrNone
    states_budget: int
    main_text: bool
    sampled_fingerprint: str = ""
    dimensions: int = 0

    @property
    def state_bytes_limit(self) -> float:
        """The most bytes of all states, infinite without a limit."""
        return self.states_budget or math.inf

    @classmethod
    def load(cls, database: Database) -> Self:
        """The settings of a store. Raises FormatError where they are missing or were changed."""
        settings = cls.read(database)
        stored = database.row("select value from setting where name = ?", (_CHECKSUM,))
        if stored is None or stored[0] != settings._checksum():
            raise database.damaged("its settings were changed")
        return settings

    @classmethod
    def read(cls, database: Database) -> Self:
        """The settings without a look at their checksum. Raises FormatError for impossible ones."""
        rows = {**_ADDED, **dict(database.rows("select name, value from setting"))}
        try:
            settings = cls(
                **{
                    field.name: field_type(_text(rows[field.name]))
                    for field, field_type in zip(fields(cls), _FIELD_TYPES, strict=True)
                }
            )
        except (KeyError, ValueError) as error:
            raise FormatError(f"{database.path} has no settings: index into a new store") from error
        if (
            settings.vectors not in get_args(VectorType)
            or settings.states not in (*get_args(StateType), "none")
            or settings.chunk_tokens < 1
            or settings.states_budget < 0
            or settings.dimensions < 0
        ):
            raise database.damaged("its settings are impossible")
        return settings

    def save(self, database: Database) -> None:
        """Write the settings and their checksum, within a transaction."""
        rows = {**asdict(self), _CHECKSUM: self._checksum()}
        database.execute_many(
            "insert or replace into setting values (?, ?)",
            [(name, str(value)) for name, value in rows.items()],
        )

    def load_or_save(self, database: Database) -> "Settings":
        """Save these in a store that has none yet; return the settings of the store."""
        if not _has_settings(database):
            with database.transaction():
                if not _has_settings(database):  # another process may have been faster
                    self.save(database)
        return self.load(database)

    def knows(self, model: AnyModel) -> bool:
        """Whether a store with these settings was made with this model.

        A store of an earlier version knows it by samples of its bytes, and cannot tell more.
        """
        if is_sampled(self.fingerprint):
            return self.fingerprint == model.identity.sampled()
        return self.fingerprint == model.fingerprint

    def with_fingerprint(self, model: AnyModel, database: Database) -> "Settings":
        """These, with a fingerprint of all bytes of the model; saved where that can be written."""
        if not is_sampled(self.fingerprint):
            return self
        settings = replace(
            self, fingerprint=model.fingerprint, sampled_fingerprint=self.fingerprint
        )
        if not database.read_only:
            with database.transaction():
                settings.save(database)
        return settings

    def _checksum(self) -> str:
        kept = asdict(self)
        if not self.dimensions:
            del kept["dimensions"]  # as it was before there were any
        return row_checksum(list(kept.items())).hex()


def _boolean(text: str) -> bool:
    return {"True": True, "False": False}[text]


_FIELD_TYPES: tuple[Callable[[str], Any], ...] = (
    *(str, str, str, int, str, int),
    *(_boolean, str, int),
)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _has_settings(database: Database) -> bool:
    """Whether there are settings, or there should be: a store with documents has some."""
    sql = "select 1 from setting union all select 1 from source limit 1"
    return database.row(sql) is not None


@dataclass(frozen=True)
class RequestedSettings:
    """What the caller of `Store.open` asks for.

    None means the default for a new store, and whatever an existing store has.
    """

    vectors: VectorType | None = None
    chunk_tokens: int | None = None
    states: StateTypeOrNone | None = None
    states_budget: int | None = None
    main_text: bool | None = None
    dimensions: int | None = None

    def check(self, model: AnyModel, *, is_new: bool) -> None:
        """Raise UsageError for settings that no store, or no new store, can have."""
        if self.vectors is not None:
            check_vector_type(self.vectors)
        if self.states is not None and self.states not in (*get_args(StateType), "none"):
            raise UsageError(f"states is {self.states!r}: expected none, f16, q8_0 or q4_0")
        if self.states_budget is not None and self.states_budget < 1:
            raise UsageError(f"states_budget is {self.states_budget}: expected 1 byte or more")
        model.format.check_dimensions(self.dimensions, model.dimension)
        most = model.max_length // 2
        if self.chunk_tokens is not None and not _MIN_CHUNK_TOKENS <= self.chunk_tokens <= most:
            raise UsageError(
                f"chunk_tokens is {self.chunk_tokens}: expected {_MIN_CHUNK_TOKENS} to {most}"
            )
        if is_new and self.states in ("q8_0", "q4_0"):
            columns = shape_of(model).columns
            if uneven := [count for count in columns if count % 32]:
                raise UsageError(
                    f"states is {self.states}, which stores blocks of 32 numbers, but a token of "
                    f"this model has {uneven[0]} in a layer: choose f16"
                )
        if is_new and self.states_budget is not None and self.states in (None, "none"):
            raise UsageError("states_budget is set, but no states are kept: choose their type")

    def for_new_store(self, model: AnyModel) -> Settings:
        """The settings of a new store."""
        return Settings(
            model=str(model.path),
            fingerprint=model.fingerprint,
            vectors=self.vectors or "float32",
            chunk_tokens=self.chunk_tokens or min(DEFAULT_CHUNK_TOKENS, model.max_length // 2),
            states=self.states or "none",
            states_budget=self.states_budget or 0,
            main_text=bool(self.main_text),
            dimensions=0 if self.dimensions == model.dimension else self.dimensions or 0,
        )

    def check_against(self, settings: Settings, model: AnyModel, path: Path) -> None:
        """Raise UsageError where a store has another model or other settings."""
        if not settings.knows(model):
            raise UsageError(
                f"{path} was made with another model ({settings.model}): use that one, or index "
                "into a new store"
            )
        for name, requested in asdict(self).items():
            kept = getattr(settings, name)
            if name == "dimensions":
                kept = kept or model.dimension
            if requested is not None and requested != kept:
                raise UsageError(
                    f"{path} was made with {name} {kept}, which cannot be changed: index into a "
                    f"new store for {requested}"
                )
