"""Loading with transformers: without bars of its own, and with our errors."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

from gritlite.errors import ArchitectureError


@contextlib.contextmanager
def loading(path: Path) -> Iterator[None]:
    """Load something from `path` within the block.

    Raises ArchitectureError, with transformers' reason, for what it cannot load.
    """
    # bars are the command line's to show; of transformers' own, that for GGUF has no switch
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # its readers raise whatever they meet
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ArchitectureError(f"transformers cannot load {path}: {reason}") from error
