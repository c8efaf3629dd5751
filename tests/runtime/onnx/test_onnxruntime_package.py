"""ONNX Runtime by way of gritlite keeps and sends nothing."""

import os
import subprocess
import sys
from pathlib import Path

SESSION = """
import sys
{imported}
from gritlite.runtime.onnx.onnx_session import session_options
from onnx import TensorProto, helper
from onnxruntime import InferenceSession
value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", [value], [result])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
InferenceSession(model.SerializeToString(), session_options(1)).run(None, {{"x": [1.0]}})
"""


def files_left(home: Path, *, imported: str = "") -> list[Path]:
    """What a program with a session leaves in an empty home folder."""
    # no others: ONNX Runtime tells nothing by itself where a variable such as CI is set
    kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "SYSTEMROOT")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    code = SESSION.format(imported=imported)
    subprocess.run(
        [sys.executable, "-B", "-c", code], env={**environment, "HOME": str(home)}, check=True
    )
    return [path for path in home.rglob("*") if path.is_file()]


def test_nothing_is_kept(tmp_path):
    assert files_left(tmp_path) == []


def test_it_would_be_kept_if_the_program_imported_it_before(tmp_path):
    """Otherwise the test above could not fail."""
    assert "deviceid" in {path.name for path in files_left(tmp_path, imported="import onnxruntime")}
