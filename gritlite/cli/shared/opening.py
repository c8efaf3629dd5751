"""Opening a store for a command, with what its user should see of it."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gritlite.cli.shared.engines import tell_second_copy
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.progress import identify
from gritlite.system.wording import counted

if TYPE_CHECKING:
    from gritlite.rag.condition import Condition
    from gritlite.rag.store import Store
    from gritlite.runtime.model import GritLM


@contextmanager
def opened_store(path: Path, model: "GritLM", *, for_answers: bool) -> Iterator["Store"]:
    """Open a store that exists, and tell on standard error what its user should know.

    `for_answers` tells that states cannot be kept, too, and what a second copy of the weights
    takes.
    """
    from gritlite.rag.store import Store

    if for_answers:
        tell_second_copy(model)
    identify(model)
    with Store.open(path, model, create=False) as store:
        for line in remarks(store, for_answers=for_answers):
            print_notice(line)
        yield store


@contextmanager
def store_to_fill(path: Path, model: "GritLM", **settings: Any) -> Iterator["Store"]:
    """Open a store that documents are added to, or create it with these settings."""
    from gritlite.rag.store import Store

    identify(model)
    with Store.open(path, model, **settings) as store:
        yield store


def remarks(store: "Store", *, for_answers: bool) -> list[str]:
    """What may make a search miss something, or find what is no longer there; a line each."""
    condition = store.condition()
    lines = []
    if condition.pending:
        verb = "is" if condition.pending == 1 else "are"
        lines.append(
            f"{counted(condition.pending, 'document')} of {store.path} {verb} not embedded yet and "
            "will not be found: let `gritlite index` finish, or run it again"
        )
    elif not condition.documents:
        lines.append(f"{store.path} has no documents: index some with `gritlite index`")
    lines += gone_roots(store, condition)
    if for_answers and condition.read_only and store.settings.states != "none":
        lines.append(f"{store.path} cannot be changed here: new states will not be kept")
    return lines


def gone_roots(store: "Store", condition: "Condition") -> list[str]:
    """What to do about indexed files and folders that do not exist now; a line each."""
    return [
        f"{root.path} is gone, and {store.path} still has {counted(root.documents, 'document')} of "
        "it: mount its disk, or, if it was moved, index it where it is now and run "
        f"`{shlex.join(['gritlite', 'store', 'remove', str(store.path), str(root.path)])}`"
        for root in condition.gone
    ]
