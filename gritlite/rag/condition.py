"""What the user of a store should know beside its answers."""

from dataclasses import dataclass

from gritlite.rag.database import Database
from gritlite.rag.paths import StorePaths
from gritlite.rag.roots import Root, read_roots


@dataclass(frozen=True)
class Condition:
    """What may make a search miss something, or find too much.

    `documents` counts what is searched, and `pending` documents that are not, since indexing
    was interrupted or is still going on. `gone` are indexed files and folders that do not
    exist now. A `read_only` store keeps no states.
    """

    documents: int
    pending: int
    gone: tuple[Root, ...]
    read_only: bool


def read_condition(database: Database, paths: StorePaths) -> Condition:
    """The condition of a store. Raises FormatError for a damaged one."""
    with database.snapshot():
        return Condition(
            documents=database.number("select count(*) from source where complete"),
            pending=database.number("select count(*) from source where not complete"),
            gone=tuple(
                root for root in read_roots(database, paths) if root.documents and root.gone
            ),
            read_only=database.read_only,
        )
