"""ONNX Runtime, imported without its telemetry.

Its package notes what a program does with it in a database of the user's cache
(Microsoft/DeveloperTools/.onnxruntime), with an identifier of the device, and sends that to
Microsoft (mobile.events.data.microsoft.com), unless the variable below is set while it is
imported. Where the program has imported it before, the module can only end what follows.
"""

from gritlite.system import environment

with environment.variable("ORT_DISABLE_TELEMETRY", "1"):
    import onnxruntime

onnxruntime.disable_telemetry_events()

__all__ = ["onnxruntime"]
