"""The graphs kept in the cache: one folder for each model file and form.

    graphs/FINGERPRINT-FORM/graph.json          the record; written last
    graphs/FINGERPRINT-FORM/...                 the files that the runtime reads
    graphs/.FINGERPRINT-FORM.RANDOM.part/       a graph being written
    graphs/.FINGERPRINT-FORM.lock               held by the process that writes it

The record states what the graph was made from and for. A graph that does not fit (another
version of the runtime or of gritlite's graphs, another processor, files missing or of another
size) counts as missing, and is made again. The module does not know what the files contain.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gritlite.errors import FileError, GritLiteError
from gritlite.runtime.onnx import packages
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.session import Floats
from gritlite.system import cache, locks, processor
from gritlite.system.files import atomic_folder, sha256

FOLDER, RECORD, FACTORS = "graphs", "graph.json", "value_factors.npy"
RECORD_VERSION = 1
GRAPH_VERSION = 4  # raise it whenever a graph is written differently than before
_DIGITS = 16  # of the fingerprint in a folder's name


@dataclass(frozen=True)
class GraphFolder:
    """A graph that is whole and fits this machine.

    `model` is the path of the GGUF file when the graph was made, and `sizes` the bytes of
    each file.
    """

    path: Path
    form: Form
    model: Path
    fingerprint: str
    sizes: Mapping[str, int]

    @property
    def bytes(self) -> int:
        """The size of all files together."""
        return sum(self.sizes.values())

    def value_factors(self) -> list[Floats] | None:
        """What each layer's values are to be multiplied by, float32 [kv_heads, head width].

        None if the graph computes values as they are. Raises FileError.
        """
        if FACTORS not in self.sizes:
            return None
        path = self.path / FACTORS
        try:
            return list(np.load(path, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise FileError(f"cannot read {path}: {error}") from error


@dataclass(frozen=True)
class Entry:
    """A folder of the cache. `graph` is None for one that does not fit and is made again."""

    path: Path
    bytes: int
    model: Path | None
    form: str
    graph: GraphFolder | None


def find(fingerprint: str, form: Form) -> GraphFolder | None:
    """Return the graph of a file with this fingerprint; None if there is none that fits.

    Raises MissingExtraError without the runtime.
    """
    path = cache.root() / FOLDER / _name(fingerprint, form)
    record = _record(path)
    if record is None or record.get("made") != _made(fingerprint, form):
        return None
    graph = _graph(path, form, record)
    return graph if graph and _sizes(path, graph.sizes) == graph.sizes else None


def entries() -> list[Entry]:
    """Return all folders of graphs, those that do not fit included, by model and form."""
    found = [_entry(path) for path in _folders()]
    return sorted(found, key=lambda entry: (str(entry.model or ""), entry.form))


def remove(entry: Entry | GraphFolder) -> None:
    """Remove a folder of graphs; a process that has it loaded keeps its memory.

    Raises FileError.
    """
    _remove(entry.path)


def remove_superseded(graph: GraphFolder) -> None:
    """Remove the graphs of this form of what the same file was before. Raises FileError."""
    for path in _folders():
        record = _record(path) or {}
        is_same = record.get("model") == str(graph.model) and _form(path) == graph.form.name
        if is_same and path != graph.path:
            _remove(path)


def verify(graph: GraphFolder) -> list[str]:
    """Return the names of the files whose content is not what was written; reads them whole."""
    record = _record(graph.path) or {}
    digests = {name: file["sha256"] for name, file in record.get("files", {}).items()}
    return [name for name in graph.sizes if _digest(graph.path / name) != digests.get(name)]


@contextlib.contextmanager
def writing(fingerprint: str, form: Form, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Be the only process that writes this graph; remove what a killed one left.

    `waiting` is called while another process writes it. Raises what `waiting` raises, and
    FileError.
    """
    root, name = cache.folder(FOLDER), _name(fingerprint, form)
    with locks.exclusive(root / f".{name}.lock", waiting=waiting):
        for left in _children(root):
            if left.name.startswith(f".{name}.") and left.suffix == ".part":
                shutil.rmtree(left, ignore_errors=True)
        yield


@contextlib.contextmanager
def new_folder(fingerprint: str, form: Form) -> Iterator[Path]:
    """Return a folder to fill, within `writing`; it takes its place when the block ends.

    `complete` must have been called. Raises FileError.
    """
    path = cache.folder(FOLDER) / _name(fingerprint, form)
    with atomic_folder(path, force=True) as folder:
        yield folder


def complete(folder: Path, model: Path, fingerprint: str, form: Form) -> None:
    """Write the record of a folder that has all files. Raises OSError."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
    }
    record = {
        "version": RECORD_VERSION,
        "made": _made(fingerprint, form),
        "model": str(model.absolute()),
        "files": files,
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1), "utf-8")


def _name(fingerprint: str, form: Form) -> str:
    digest = fingerprint.rpartition("-")[2]  # without its kind
    return f"{digest[:_DIGITS]}-{form.name}"


def _made(fingerprint: str, form: Form) -> dict[str, Any]:
    """What a graph is made from and for; it fits only if all of this is the same."""
    return {
        "fingerprint": fingerprint,
        "form": asdict(form),
        "runtime_version": packages.version(form.runtime),
        "graph_version": GRAPH_VERSION,
        "processor": list(processor.kernel_flags()) or [processor.description()],
    }


def _record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((path / RECORD).read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("version") == RECORD_VERSION else None


def _graph(path: Path, form: Form, record: Mapping[str, Any]) -> GraphFolder | None:
    try:
        return GraphFolder(
            path=path,
            form=form,
            model=Path(record["model"]),
            fingerprint=record["made"]["fingerprint"],
            sizes={str(name): int(file["bytes"]) for name, file in record["files"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None  # the record is damaged


def _sizes(path: Path, names: Mapping[str, int]) -> dict[str, int]:
    try:
        return {name: (path / name).stat().st_size for name in names}
    except OSError:
        return {}


def _folders() -> list[Path]:
    """The folders of graphs, sorted, but for those being written or removed."""
    found = _children(cache.root() / FOLDER)
    return sorted(path for path in found if path.is_dir() and not path.name.startswith("."))


def _form(path: Path) -> str:
    return path.name.partition("-")[2]


def _remove(path: Path) -> None:
    hidden = path.with_name(f".{path.name}.removed.part")
    try:
        shutil.rmtree(hidden, ignore_errors=True)
        path.rename(hidden)  # in one step, so that no half of it is taken for a graph
        shutil.rmtree(hidden)
    except FileNotFoundError:
        return
    except OSError as error:
        raise FileError(f"cannot remove {path}: {error.strerror}") from error


def _entry(path: Path) -> Entry:
    record = _record(path) or {}
    size = 0
    with contextlib.suppress(OSError):  # another process removes it
        size = sum(file.stat().st_size for file in _children(path))
    model = record.get("model")
    graph = None
    with contextlib.suppress(KeyError, TypeError, GritLiteError):
        made = record["made"]
        graph = find(made["fingerprint"], Form(**made["form"]))
    return Entry(path, size, Path(model) if isinstance(model, str) else None, _form(path), graph)


def _children(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:
        return []


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError:
        return ""
