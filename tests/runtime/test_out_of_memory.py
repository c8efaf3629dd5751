"""Memory errors are reported as such, never as damaged files."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")

CHILD = """
import resource, sys
from pathlib import Path
from gritlite.errors import OutOfMemoryError
from gritlite.runtime.llama import Context, ContextOptions, Weights

def leave(mebibytes):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + mebibytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))

path, what = Path(sys.argv[1]), sys.argv[2]
try:
    if what == "weights":
        leave(4)
        Weights(path, gpu_layers=0, editable=True)
    with Weights(path, gpu_layers=0) as weights:
        leave(256)
        Context(weights, ContextOptions(n_ctx=1_000_000, n_batch=512, threads=1))
except OutOfMemoryError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("what", "problem", "cure"),
    [
        ("weights", "does not fit in memory", "use a file of a smaller type"),
        ("context", "no context of 1000000 tokens could be made", "use a shorter one"),
    ],
)
def test_the_error_says_so_and_what_to_do(tiny_file, what, problem, cure):
    path = tiny_file("llama-head-dim", hidden=1024, feed_forward=2048)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, path, what], capture_output=True, text=True, check=True
    )
    assert problem in done.stdout
    assert "allocate" in done.stdout  # llama.cpp's own reason
    assert done.stdout.rstrip().endswith(cure)
