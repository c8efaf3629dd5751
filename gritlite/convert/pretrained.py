"""Models and tokenizers as transformers loads them: without bars of its own, with our errors.

Folders in Hugging Face's form and GGUF files alike. Imports torch where that is needed only.
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


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a folder or a GGUF file. Raises FileError or ArchitectureError."""
    from transformers import AutoTokenizer

    folder, options = _place(path)
    with loading(path):
        return AutoTokenizer.from_pretrained(folder, **options)


def load_config(path: Path) -> Any:
    """The configuration of a folder or a GGUF file. Raises FileError or ArchitectureError."""
    from transformers import AutoConfig

    folder, options = _place(path)
    with loading(path):
        return AutoConfig.from_pretrained(folder, **options)


def load_model(path: Path) -> Any:
    """The model of a folder or a GGUF file in float32, frozen. Raises as `load_tokenizer`."""
    import torch
    from transformers import AutoModelForCausalLM

    folder, options = _place(path)
    with loading(path):
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa", **options
        )
    model.requires_grad_(False)
    return model


def _place(path: Path) -> tuple[Path, dict[str, str]]:
    """A folder, and the options that name the file in it."""
    if not path.exists():
        raise FileError(f"{path} does not exist: name a GGUF file or a Hugging Face folder")
    return (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
