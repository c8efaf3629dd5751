"""One loaded model for each file, however many adapters are given its name."""

import threading
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from gritlite.runtime.any_model import AnyModel
from gritlite.runtime.model import GritLM
from gritlite.system.locate import locate

_Version = tuple[int, ...]  # of a file: where it lies, its size and when it changed

_models: WeakValueDictionary[_Version, AnyModel] = WeakValueDictionary()
_lock = threading.Lock()


def shared_model(model: AnyModel | str | Path) -> AnyModel:
    """Return an open model as it is, or that of a file or a pulled name, which is loaded once.

    A model that was given open counts as that of its file. One that no adapter or caller
    holds any more is freed. Raises as `GritLM`.
    """
    if isinstance(model, AnyModel):
        with suppress(OSError), _lock:  # its file may be gone
            _models[_version(model.path)] = model
        return model
    path = locate(str(model))
    with _lock:
        version = _version(path)
        known = _models.get(version)
        if known is None or known.is_closed:
            known = _models[version] = GritLM(path)
        return known


def _version(path: Path) -> _Version:
    found = path.stat()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
