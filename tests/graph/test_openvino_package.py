"""OpenVINO by way of gritlite tells nobody, and does no harm to the main thread."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
CTRL_C = """
import os, signal, threading
from gritlite.graph.openvino_package import new_core
used = [new_core()]
letting_go = threading.Thread(target=used.clear)
letting_go.start()
letting_go.join()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
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


@pytest.mark.skipif(sys.platform != "linux", reason="the plugin does it on Linux only")
def test_ctrl_c_is_heard_after_a_core_was_let_go_in_another_thread():
    done = subprocess.run([sys.executable, "-c", CTRL_C], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("interrupted\n", 0)
