"""What a store was made with and keeps."""

from dataclasses import asdict, dataclass
from typing import Literal, Self

from gritlite.errors import FormatError
from gritlite.rag.database import Database
from gritlite.rag.state_quantization import StateType
from gritlite.rag.vectors import VectorType

StateTypeOrNone = StateType | Literal["none"]


@dataclass(frozen=True)
class Settings:
    """The model's file and fingerprint, and the forms of what is kept.

    `chunk_tokens` is the budget of a chunk, `states` the numbers of key-value states
    ("none": they are not kept), `states_budget` the most bytes of these, 0 for any.
    """

    model: str
    fingerprint: str
    vectors: VectorType
    chunk_tokens: int
    states: StateTypeOrNone
    states_budget: int

    @classmethod
    def read(cls, database: Database) -> Self:
        """Those of a store. Raises FormatError for one without."""
        found = dict(database.rows("select name, value from setting"))
        try:
            return cls(
                found["model"],
                found["fingerprint"],
                found["vectors"],
                int(found["chunk_tokens"]),
                found["states"],
                int(found["states_budget"]),
            )
        except (KeyError, ValueError) as error:
            raise FormatError(f"{database.path} has no settings: index into a new store") from error

    def settle(self, database: Database) -> "Settings":
        """Write these into a new store, and return them; those that an old one has."""
        if not _are_in(database):
            with database.transaction():
                if not _are_in(database):  # nobody else was faster
                    rows: list[tuple[object, ...]] = [
                        (name, str(value)) for name, value in asdict(self).items()
                    ]
                    database.execute_many("insert into setting values (?, ?)", rows)
        return self.read(database)


def _are_in(database: Database) -> bool:
    return database.row("select 1 from setting where name = 'model'") is not None
