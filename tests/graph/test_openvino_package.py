"""Importing OpenVINO by way of gritlite tells nobody."""

import os
import subprocess
import sys
from pathlib import Path

import gritlite

CODE = """
import sys, threading
told = []
def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect", "urllib.Request"):
        told.append(arguments)
sys.addaudithook(watch)
import {imported}
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(5)
print(told, "openvino_telemetry" in sys.modules)
"""
SESSION = "gritlite.runtime.onnx.openvino_session"


def imported(module: str, home: Path) -> str:
    """What an import tells, on a machine that is not a CI runner, without a network."""
    unset = ("CI", "TF_BUILD", "JENKINS_URL")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"HOME": str(home), "https_proxy": "http://127.0.0.1:1", "GRITLITE_CACHE": ""}
    command = [sys.executable, "-c", CODE.format(imported=module)]
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_nothing_is_told_and_no_file_is_left(tmp_path):
    assert imported(SESSION, tmp_path) == "[] False"
    assert list(tmp_path.iterdir()) == []


def test_openvino_itself_would_tell(tmp_path):
    """Otherwise the test above could not fail."""
    assert imported("openvino", tmp_path).endswith("True")
    assert list(tmp_path.rglob("openvino_ga_cid"))


def test_no_other_module_imports_openvino():
    package = Path(gritlite.__file__).parent
    found = [
        path.name
        for path in package.rglob("*.py")
        if any(
            line.lstrip().startswith(("import openvino", "from openvino"))
            for line in path.read_text(encoding="utf-8").splitlines()
        )
    ]
    assert found == ["openvino_package.py"]
