"""A processor in place of a GPU."""

import pytest


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is for a GPU runs on the processor; its arrays have copies there, as on a GPU."""
    from gritlite.runtime.onnx import device, onnx_session

    held = onnx_session._held
    monkeypatch.setattr(device, "GPU", device.PROCESSOR)
    monkeypatch.setattr(onnx_session, "_held", lambda states, where: held(states.copy(), where))
