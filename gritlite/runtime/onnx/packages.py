"""The packages of the two runtimes, each behind an extra."""

import importlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from types import ModuleType

from gritlite.errors import MissingExtraError
from gritlite.runtime.onnx.forms import Runtime

# modules of ours, which import the runtimes without their telemetry
ONNX_RUNTIME = "gritlite.runtime.onnx.onnxruntime_package"
_OPENVINO = "gritlite.graph.openvino_package"
_IMPORTED = {ONNX_RUNTIME: "onnxruntime", _OPENVINO: "openvino"}
# the distributions that an extra installs, of each of which one will do
_DISTRIBUTIONS: Mapping[Runtime, Sequence[tuple[str, ...]]] = {
    "onnx": (("onnxruntime", "onnxruntime-gpu"), ("onnx",)),
    "openvino": (("openvino",),),
}


def version(runtime: Runtime) -> str:
    """Return the version of a runtime's package. Raises MissingExtraError without it."""
    if runtime == "openvino":
        return str(load(_OPENVINO, runtime).ov.__version__)
    return str(load(ONNX_RUNTIME, runtime).onnxruntime.__version__)


def installed_version(runtime: Runtime) -> str | None:
    """Return a runtime's version without importing it; None if its extra is not installed."""
    versions = [_any_version(names) for names in _DISTRIBUTIONS[runtime]]
    return versions[0] if all(versions) else None


def missing(runtime: Runtime) -> MissingExtraError:
    """Return the error about a runtime whose extra is not installed."""
    names = (names[0] for names in _DISTRIBUTIONS[runtime] if not _any_version(names))
    return MissingExtraError(next(names), runtime, f"the engine {runtime}")


def is_installed(distribution: str) -> bool:
    """Return whether a distribution is installed, without importing it."""
    return _version(distribution) is not None


def _any_version(names: Sequence[str]) -> str | None:
    return next(filter(None, map(_version, names)), None)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def load(name: str, runtime: Runtime) -> ModuleType:
    """Import a module that a runtime needs. Raises MissingExtraError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            _IMPORTED.get(name, name), runtime, f"the engine {runtime}"
        ) from error
