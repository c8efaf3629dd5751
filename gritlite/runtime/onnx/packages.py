"""The packages of the two runtimes, each behind an extra."""

import importlib
from types import ModuleType

from gritlite.errors import MissingExtraError
from gritlite.runtime.onnx.forms import Runtime

_RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}


def version(runtime: Runtime) -> str:
    """Return the version of a runtime's package. Raises MissingExtraError without it."""
    return str(load(_RUNTIMES[runtime], runtime).__version__)


def load(name: str, runtime: Runtime) -> ModuleType:
    """Import a package that a runtime needs. Raises MissingExtraError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(name, runtime, f"the engine {runtime}") from error
