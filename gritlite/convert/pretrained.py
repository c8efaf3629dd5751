"""Load models and tokenizers with transformers, with our errors and without its progress bars.

Hugging Face folders and GGUF files are supported. torch is imported only where needed.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gritlite.errors import ArchitectureError, FileError


@contextlib.contextmanager
def loading(path: Path) -> Iterator[None]:
    """Silence transformers while the block loads something from `path`.

    Raises ArchitectureError, with transformers' reason, if loading fails.
    """
    # transformers' progress bar for GGUF files cannot be switched off
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # transformers' readers raise all kinds
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ArchitectureError(f"transformers cannot load {path}: {reason}") from error


def load_tokenizer(path: Path) -> Any:
    """Load the tokenizer of a folder or GGUF file. Raises FileError or ArchitectureError."""
    from transformers import AutoTokenizer

    folder, options = _folder_and_options(path)
    with loading(path):
        return AutoTokenizer.from_pretrained(folder, **options)


def load_config(path: Path) -> Any:
    """Load the configuration of a folder or GGUF file. Raises FileError or ArchitectureError."""
    from transformers import AutoConfig

    folder, options = _folder_and_options(path)
    with loading(path):
        return AutoConfig.from_pretrained(folder, **options)


def load_model(path: Path) -> Any:
    """Load the model of a folder or GGUF file in float32, frozen. Raises as `load_tokenizer`."""
    import torch
    from transformers import AutoModelForCausalLM

    folder, options = _folder_and_options(path)
    with loading(path):
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa", **options
        )
    model.requires_grad_(False)
    return model


def _folder_and_options(path: Path) -> tuple[Path, dict[str, str]]:
    """Return a folder, and the options that select the GGUF file in it."""
    if not path.exists():
        raise FileError(f"{path} does not exist: name a GGUF file or a Hugging Face folder")
    return (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
