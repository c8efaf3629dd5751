"""The memory of a pass is what was estimated, and a long text's is given back."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of Linux")

# prints what passes took besides the first one, their estimates, and what was kept
CHILD = """
import sys
from pathlib import Path
import numpy as np
from gritlite.modelfile.header import read_header
from gritlite.modelfile.memory import graph_pass_bytes
from gritlite.runtime.onnx.onnx_session import OnnxSession
from tests.graph.write_graph import write_graph

def memory(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))

file, folder = Path(sys.argv[1]), Path(sys.argv[2])
network = write_graph(file, folder, "float32")
session = OnnxSession(folder, network, threads=1)

def run(tokens):
    embeddings = np.ones((1, tokens, network.width), np.float32)
    session.run(embeddings, np.full(1, tokens, np.int32), "bidirectional")

run(8)
for tokens in (512, 3000):
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before = memory("VmRSS")
    run(tokens)
    peak, kept = memory("VmHWM") - before, memory("VmRSS") - before
    print(peak, graph_pass_bytes(read_header(file), tokens), kept)
"""


def test_the_estimate_covers_a_pass(tiny_file, tmp_path) -> None:
    wide = {"hidden": 512, "feed_forward": 2048, "heads": 8, "kv_heads": 4, "context": 4096}
    path = tiny_file("llama-tied", **wide)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, path, tmp_path], capture_output=True, text=True, check=True
    )
    usual, long = ([int(part) for part in line.split()] for line in done.stdout.splitlines())
    peak, estimate, _ = usual
    assert peak <= 1.1 * estimate + (8 << 20)
    peak, estimate, kept = long
    assert estimate / 2.2 <= peak <= 1.1 * estimate
    assert kept < peak / 3
