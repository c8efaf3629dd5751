"""OpenVINO, imported without its telemetry.

`import openvino` tells Google Analytics of itself unless the machine is a CI runner or the user
has declined (openvino/tools/ovc/__init__.py: `send_event("ov", "import", ...)` of the package
openvino_telemetry). Where that package is missing, OpenVINO takes a stub that sends nothing:
here it is missing while OpenVINO is imported. The module cannot help where another library has
imported OpenVINO before.
"""

import sys

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

__all__ = ["ops", "ov"]
