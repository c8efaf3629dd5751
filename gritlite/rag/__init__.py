"""Documents in a store: read, cut into chunks, embedded, searched, and answered from.

The names below are the public ones (docs/api.md). Each is imported when it is first used.
`Store` and the functions need the extra `rag` and raise MissingExtraError without it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gritlite.rag.answer import StoreAnswer, Timings
    from gritlite.rag.condition import Condition
    from gritlite.rag.contents import Update
    from gritlite.rag.embedding import Pending
    from gritlite.rag.listing import Removal, StoredDocument
    from gritlite.rag.maintenance import Info, documents, info, prune, remove, verify
    from gritlite.rag.planning import Plan
    from gritlite.rag.roots import Root
    from gritlite.rag.scanning import Changes
    from gritlite.rag.search import Passage
    from gritlite.rag.settings import Settings
    from gritlite.rag.state_files import StateUsage
    from gritlite.rag.store import Store
    from gritlite.rag.texts import TextUpdate

__all__ = [
    "Changes",
    "Condition",
    "Info",
    "Passage",
    "Pending",
    "Plan",
    "Removal",
    "Root",
    "Settings",
    "StateUsage",
    "Store",
    "StoreAnswer",
    "StoredDocument",
    "TextUpdate",
    "Timings",
    "Update",
    "documents",
    "info",
    "prune",
    "remove",
    "verify",
]

_HOMES = {
    "Changes": "scanning",
    "Condition": "condition",
    "Info": "maintenance",
    "Passage": "search",
    "Pending": "embedding",
    "Plan": "planning",
    "Removal": "listing",
    "Root": "roots",
    "Settings": "settings",
    "StateUsage": "state_files",
    "Store": "store",
    "StoreAnswer": "answer",
    "StoredDocument": "listing",
    "TextUpdate": "texts",
    "Timings": "answer",
    "Update": "contents",
    "documents": "maintenance",
    "info": "maintenance",
    "prune": "maintenance",
    "remove": "maintenance",
    "verify": "maintenance",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
