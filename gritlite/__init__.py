"""gritlite: one quantized GritLM file that embeds text and generates it.

The names below are the public ones (docs/api.md), with those of `gritlite.rag`. Each is
imported when it is first used, so `import gritlite` costs next to nothing. Opening a
`Store` needs the extra `rag`; without it MissingExtraError says so.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gritlite.version import __version__

if TYPE_CHECKING:
    from gritlite.errors import (
        ArchitectureError,
        CancelledError,
        ClosedError,
        DeviceError,
        DocumentError,
        DownloadError,
        EmptyTextError,
        FileError,
        FormatError,
        GritLiteError,
        InputError,
        InputTooLongError,
        LibraryError,
        MissingExtraError,
        OutOfMemoryError,
        OutputExistsError,
        RequantizationError,
        TokenizerError,
        TruncationWarning,
        UsageError,
    )
    from gritlite.prompt import instruction
    from gritlite.rag.store import Store
    from gritlite.runtime.model import GritLM

__all__ = [
    "ArchitectureError",
    "CancelledError",
    "ClosedError",
    "DeviceError",
    "DocumentError",
    "DownloadError",
    "EmptyTextError",
    "FileError",
    "FormatError",
    "GritLM",
    "GritLiteError",
    "InputError",
    "InputTooLongError",
    "LibraryError",
    "MissingExtraError",
    "OutOfMemoryError",
    "OutputExistsError",
    "RequantizationError",
    "Store",
    "TokenizerError",
    "TruncationWarning",
    "UsageError",
    "__version__",
    "instruction",
]

_HOMES = {
    "GritLM": "gritlite.runtime.model",
    "Store": "gritlite.rag.store",
    "instruction": "gritlite.prompt",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562); what `_HOMES` does not list is in errors."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "gritlite.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
