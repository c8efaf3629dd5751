"""Finding a model by its path or name. Nothing is fetched here."""

import contextlib
from difflib import get_close_matches
from pathlib import Path

from gritlite.errors import FileError
from gritlite.system import cache, hub_cache
from gritlite.system.catalog import CATALOG


def locate(name: str) -> Path:
    """The file or folder of a model: a path, a pulled model, or one in the Hugging Face cache.

    Raises FileError if it is none of them, or what `hub_cache.find` raises.
    """
    path = Path(name)
    with contextlib.suppress(OSError):  # a name that no file system takes
        if path.exists():
            return path
    pulled = _pulled(name)
    if pulled is not None:
        return pulled
    if name in CATALOG:
        raise FileError(f"the model {name} has not been pulled: run  gritlite pull {name}")
    if is_repository(name):
        cached = hub_cache.find(name)
        if cached is not None:
            return cached.path
        raise FileError(
            f"{name} is neither a file nor a pulled model{_suggestion(name)}: check the path, "
            f"or run  gritlite pull {name}"
        )
    raise FileError(
        f"{name} does not exist{_suggestion(name)}: give the path of a model, a pulled "
        f"Hugging Face repository (org/name), or one of: {', '.join(CATALOG)}"
    )


def _suggestion(name: str) -> str:
    """Ask whether a similar name was meant: of the catalog, a pulled model, or a file beside it."""
    known = [*CATALOG, *cache.registered_names(), *map(str, Path(name).parent.glob("*.gguf"))]
    found = get_close_matches(name, known, n=1)
    return f" (did you mean {found[0]}?)" if found else ""


def pulled_models() -> dict[str, Path]:
    """The pulled models: their names and paths."""
    names = [*CATALOG, *cache.registered_names()]
    return {name: path for name in names if (path := _pulled(name)) is not None}


def is_repository(name: str) -> bool:
    """Whether `name` has the form `org/name` or `org/name:file.gguf`."""
    repository, _, _file = name.partition(":")
    parts = repository.split("/")
    return len(parts) == 2 and all(_is_repository_word(part) for part in parts)


def _is_repository_word(word: str) -> bool:
    # the hub's rule (huggingface_hub.utils.validate_repo_id), except for lengths
    allowed = word.replace("-", "").replace("_", "").replace(".", "")
    return allowed.isalnum() and word.isascii() and word[0] not in "-." and word[-1] not in "-."


def _pulled(name: str) -> Path | None:
    if name in CATALOG:
        path = cache.root() / "models" / CATALOG[name].source.file
        return path if path.exists() else None
    return cache.find(name)
