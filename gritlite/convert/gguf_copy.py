"""A checkpoint as a GGUF file that stands for a while, for what reads GGUF files only."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from gguf.constants import GGMLQuantizationType

from gritlite.convert.conversion import ConversionProgress, convert
from gritlite.convert.source_loader import open_model_source
from gritlite.system.cleanup import remove_on_exit

_TARGETS = {GGMLQuantizationType.F16: "f16", GGMLQuantizationType.BF16: "bf16"}


@contextlib.contextmanager
def as_gguf(
    source: Path,
    beside: Path,
    *,
    threads: int | None = None,
    on_progress: Callable[[ConversionProgress], None] | None = None,
) -> Iterator[Path]:
    """The path of a GGUF file with the very numbers of the model `source`.

    A GGUF file stands for itself. From a checkpoint one is written beside the path `beside`
    and removed when the block ends. Raises what `convert` raises.
    """
    if not source.is_dir():
        yield source
        return
    with tempfile.TemporaryDirectory(dir=beside.parent, prefix=f".{beside.name[:40]}.") as name:
        folder = Path(name)
        with remove_on_exit(folder):
            file = folder / "model.gguf"
            convert(source, file, _target(source), threads=threads, on_progress=on_progress)
            yield file


def _target(source: Path) -> str | None:
    """The type that keeps a checkpoint's numbers; None keeps those of GPTQ."""
    with open_model_source(source) as model:
        if model.lossless_types:
            return None
        return _TARGETS.get(model.token_embedding_type, "f32")
