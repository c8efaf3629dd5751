"""OpenVINO, imported without its telemetry, and loaded without harm to the caller's thread.

`import openvino` tells Google Analytics of itself unless the machine is a CI runner or the user
has declined (openvino/tools/ovc/__init__.py: `send_event("ov", "import", ...)` of the package
openvino_telemetry). Where that package is missing, OpenVINO takes a stub that sends nothing:
here it is missing while OpenVINO is imported. The module cannot help where another library has
imported OpenVINO before.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

_TELEMETRY = "openvino_telemetry"

_before = sys.modules.get(_TELEMETRY)
sys.modules[_TELEMETRY] = None  # type: ignore[assignment] # the import system's "missing"
try:
    import openvino as ov
    from openvino import opset15 as ops
finally:
    if _before is None:
        del sys.modules[_TELEMETRY]
    else:
        sys.modules[_TELEMETRY] = _before

__all__ = ["new_core", "ops", "ov"]


def new_core() -> ov.Core:
    """Return OpenVINO's core with the plugin for CPUs, loaded in a thread that then ends.

    The plugin gives the thread that loads it another stack for the handlers of signals, and
    frees that stack in whatever thread lets the plugin go (SigAltStackSetup of its plugin.cpp).
    In the main thread the next Ctrl-C would then end the process.
    """

    def load() -> ov.Core:
        core = ov.Core()
        core.get_property("CPU", "FULL_DEVICE_NAME")
        return core

    with ThreadPoolExecutor(1, "OpenVINO") as pool:
        return pool.submit(load).result()
