"""The errors about a file that is whole, but whose parts contradict each other.

Such a file was made that way: to download it again would give the same one.
"""

from typing import NoReturn

from gritlite.errors import ArchitectureError, TokenizerError
from gritlite.modelfile.header import GGUFFile

MADE_WRONG = "convert the model again, or use another file"


def fail_architecture(file: GGUFFile, what: str) -> NoReturn:
    """Raise ArchitectureError about a file."""
    raise ArchitectureError(f"{file.path}: {what}: {MADE_WRONG}")


def fail_tokenizer(file: GGUFFile, what: str) -> NoReturn:
    """Raise TokenizerError about a file."""
    raise TokenizerError(f"{file.path} cannot turn text into tokens: {what}: {MADE_WRONG}")
