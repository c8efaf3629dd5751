"""gritlite: one quantized GritLM file that embeds text and generates it.

The names below are the public ones (docs/api.md), with those of `gritlite.rag`. Each is
imported when it is first used, so `import gritlite` costs next to nothing. Opening a
`Store` needs the extra `rag`; without it MissingExtraError says so.
"""

import logging as _logging

from gritlite.version import __version__

# without a handler of the program's own, nothing is logged anywhere
_logging.getLogger(__name__).addHandler(_logging.NullHandler())

TYPE_CHECKING = False  # mypy takes it for typing's, whose import would be slow
if TYPE_CHECKING:
    from typing import Any

    from gritlite.errors import (
        ArchitectureError,
        CancelledError,
        ClosedError,
        DeviceError,
        DocumentError,
        DownloadError,
        EmptyTextError,
        EngineWarning,
        FileError,
        FormatError,
        GritLiteError,
        InputError,
        InputTooLongError,
        LibraryError,
        MissingExtraError,
        ModelProcessError,
        NotFiniteError,
        OutOfMemoryError,
        OutputExistsError,
        RequantizationError,
        TokenizerError,
        TruncationWarning,
        UsageError,
    )
    from gritlite.prompt import instruction
    from gritlite.pull.models import pull_model
    from gritlite.rag.store import Store
    from gritlite.runtime.answer import Answer
    from gritlite.runtime.async_answer import AsyncAnswer
    from gritlite.runtime.async_model import AsyncGritLM
    from gritlite.runtime.engine_choice import prepare_engine
    from gritlite.runtime.instruments import Observer, WeightEditor
    from gritlite.runtime.isolation.model import IsolatedGritLM
    from gritlite.runtime.model import GritLM
    from gritlite.runtime.options import ChatOptions, GenerateOptions, SamplingOptions
    from gritlite.runtime.scorer import Scorer
    from gritlite.runtime.state import DocumentState, JoinedState
    from gritlite.runtime.template import Message
    from gritlite.system.processes import freeze_support

__all__ = [
    "Answer",
    "ArchitectureError",
    "AsyncAnswer",
    "AsyncGritLM",
    "CancelledError",
    "ChatOptions",
    "ClosedError",
    "DeviceError",
    "DocumentError",
    "DocumentState",
    "DownloadError",
    "EmptyTextError",
    "EngineWarning",
    "FileError",
    "FormatError",
    "GenerateOptions",
    "GritLM",
    "GritLiteError",
    "InputError",
    "InputTooLongError",
    "IsolatedGritLM",
    "JoinedState",
    "LibraryError",
    "Message",
    "MissingExtraError",
    "ModelProcessError",
    "NotFiniteError",
    "Observer",
    "OutOfMemoryError",
    "OutputExistsError",
    "RequantizationError",
    "SamplingOptions",
    "Scorer",
    "Store",
    "TokenizerError",
    "TruncationWarning",
    "UsageError",
    "WeightEditor",
    "__version__",
    "freeze_support",
    "instruction",
    "prepare_engine",
    "pull_model",
]

_HOMES = {
    "Answer": "gritlite.runtime.answer",
    "AsyncAnswer": "gritlite.runtime.async_answer",
    "AsyncGritLM": "gritlite.runtime.async_model",
    "ChatOptions": "gritlite.runtime.options",
    "DocumentState": "gritlite.runtime.state",
    "GenerateOptions": "gritlite.runtime.options",
    "GritLM": "gritlite.runtime.model",
    "IsolatedGritLM": "gritlite.runtime.isolation.model",
    "JoinedState": "gritlite.runtime.state",
    "Message": "gritlite.runtime.template",
    "Observer": "gritlite.runtime.instruments",
    "SamplingOptions": "gritlite.runtime.options",
    "Scorer": "gritlite.runtime.scorer",
    "Store": "gritlite.rag.store",
    "WeightEditor": "gritlite.runtime.instruments",
    "freeze_support": "gritlite.system.processes",
    "instruction": "gritlite.prompt",
    "prepare_engine": "gritlite.runtime.engine_choice",
    "pull_model": "gritlite.pull.models",
}


def __getattr__(name: str) -> "Any":
    """Import a public name on first use (PEP 562); what `_HOMES` does not list is in errors."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOMES.get(name, "gritlite.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
