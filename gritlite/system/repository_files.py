"""Which files of a Hugging Face repository are its model: one GGUF file, or a checkpoint."""

import fnmatch
from collections.abc import Callable, Sequence

from gritlite.errors import FileError

CHECKPOINT_PATTERNS = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    # what sentence-transformers says about embedding with it
    "modules.json",
    "config_sentence_transformers.json",
    "?_*/config.json",
)


def choose(repository: str, files: Sequence[str], wanted: str) -> list[str]:
    """The files to fetch: one GGUF, or a checkpoint. Raises FileError if that is not clear."""
    if wanted:
        if wanted not in files:
            raise FileError(f"{repository} has no file {wanted}")
        if not wanted.endswith(".gguf"):
            raise FileError(
                f"{wanted} is not a GGUF file: name one, or pull {repository} as a whole"
            )
        return [wanted]
    ggufs = sorted(file for file in files if file.endswith(".gguf"))
    if len(ggufs) == 1:
        return ggufs
    if ggufs:
        raise FileError(
            f"{repository} has several GGUF files: add one to the name, as in "
            f"{repository}:{ggufs[0]} (there are: {', '.join(ggufs)})"
        )
    parts = [file for file in files if any(map(_matches(file), CHECKPOINT_PATTERNS))]
    if "config.json" not in parts or not any(part.endswith(".safetensors") for part in parts):
        raise FileError(
            f"{repository} holds neither a GGUF file nor a checkpoint "
            "(config.json with model*.safetensors)"
        )
    return parts


def _matches(file: str) -> Callable[[str], bool]:
    """A pattern's stars match no slash."""
    return lambda pattern: (
        fnmatch.fnmatchcase(file, pattern) and file.count("/") == pattern.count("/")
    )
