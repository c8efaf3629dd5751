"""Open a path as a model source: a checkpoint folder or a GGUF file."""

from contextlib import AbstractContextManager
from pathlib import Path

from gritlite.convert.checkpoint_source import open_checkpoint
from gritlite.convert.gguf_source import open_gguf
from gritlite.convert.source import ModelSource
from gritlite.errors import FileError


def open_model_source(path: Path) -> AbstractContextManager[ModelSource]:
    """Open a Hugging Face folder or a GGUF file, as a context manager.

    Raises FileError if `path` does not exist. Entering the context raises what
    `open_checkpoint` and `open_gguf` raise.
    """
    if path.is_dir():
        return open_checkpoint(path)
    if path.exists():
        return open_gguf(path)
    raise FileError(f"{path} does not exist: name a Hugging Face model's folder or a GGUF file")
