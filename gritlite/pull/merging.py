"""Make a catalog model by merging an adapter that ships with gritlite into another model.

The result can differ in the last bit between machines, because float32 products do;
the adapter itself is pinned by its SHA-256.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gritlite.errors import FileError
from gritlite.pull.download_folder import download_folder
from gritlite.system import cache
from gritlite.system.catalog import MergedAdapter
from gritlite.system.reading import read_bytes
from gritlite.system.watch import Watch

if TYPE_CHECKING:
    from gritlite.convert import ConversionProgress

ADAPTERS = Path(__file__).parent / "adapters"
PINNED_FILES = ("adapter_config.json", "adapter_model.safetensors")
PROJECTION = "projection.npy"  # of adapters whose vectors are multiplied by one


def merge(
    source: MergedAdapter,
    base: Path,
    target: Path,
    *,
    notify: Callable[[str], None],
    on_progress: "Callable[[ConversionProgress], None]",
    watch: Watch,
) -> None:
    """Merge the adapter into the file `base` and write the result to `target`.

    `notify` receives messages, and `on_progress` what `convert` reports, as does `watch`.
    `target` is replaced atomically at the end. Raises FileError if the disk is full, and what
    `watch` raises.
    """
    from gritlite.convert import convert  # slow to import, and not needed by other pulls

    def report(progress: "ConversionProgress") -> None:
        watch.report(progress.bytes_done, progress.bytes_total)
        on_progress(progress)

    notify(f"merging the adapter {source.adapter} into {source.base}")
    with download_folder() as folder:
        merged = folder / "merged.gguf"
        convert(
            base,
            merged,
            source.type,
            adapter=ADAPTERS / source.adapter,
            trained_to_embed=True,
            on_progress=report,
        )
        cache.add_file(merged, target)


def check_adapter(source: MergedAdapter) -> None:
    """Raise FileError if the adapter is not the one in the catalog."""
    if digest(source.adapter) != source.sha256:
        raise FileError(
            f"the adapter in {ADAPTERS / source.adapter} is damaged: reinstall gritlite"
        )


def digest(adapter: str) -> str:
    """The SHA-256 in hex of an adapter's PINNED_FILES, and PROJECTION if it has one, in order.

    Raises FileError if one is missing.
    """
    combined = hashlib.sha256()
    for name in (*PINNED_FILES, PROJECTION):
        path = ADAPTERS / adapter / name
        if path.exists():
            combined.update(read_bytes(path))
        elif name != PROJECTION:
            raise FileError(f"{path} is missing: reinstall gritlite")
    return combined.hexdigest()
