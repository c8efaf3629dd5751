"""Memory errors are reported as such, never as damaged files."""

import os
import subprocess
import sys

import pytest

from gritlite import GritLM, OutOfMemoryError
from gritlite.modelfile.memory import PASS_TOKENS, embed_memory, graph_pass_bytes
from gritlite.system import machine

CHILD = """
import resource, sys
from pathlib import Path
from gritlite.errors import OutOfMemoryError
from gritlite.runtime.llama import Context, ContextOptions, Weights
from gritlite.runtime.llama.computing import compute_thread

def leave(mebibytes):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + mebibytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))

path, what = Path(sys.argv[1]), sys.argv[2]
try:
    if what != "context":
        compute_thread().call(lambda: None)  # its stack needs room too
        leave(4)
        Weights(path, gpu_layers=0, editable=what == "weights")
    with Weights(path, gpu_layers=0) as weights:
        leave(256)
        Context(weights, ContextOptions(n_ctx=1_000_000, n_batch=512, threads=1))
except OutOfMemoryError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
@pytest.mark.parametrize(
    ("what", "problem", "cure"),
    [
        ("weights", "does not fit in memory", "use a file of a smaller type"),
        ("mapped weights", "does not fit in memory", "use a file of a smaller type"),
        ("context", "no context of 1000000 tokens could be made", "use a shorter one"),
    ],
)
def test_the_error_says_so_and_what_to_do(tiny_file, what, problem, cure):
    path = tiny_file("llama-head-dim", hidden=1024, feed_forward=2048)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, path, what],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},  # a thread's own would hold the file
    )
    assert problem in done.stdout
    assert "allocate" in done.stdout  # llama.cpp's own reason
    assert done.stdout.rstrip().endswith(cure)


def test_a_model_on_the_gpu_needs_room_for_its_outputs_only(
    tiny_model: GritLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = embed_memory(tiny_model.file, PASS_TOKENS)
    monkeypatch.setattr(machine, "available_memory", lambda: need.outputs)
    with pytest.raises(OutOfMemoryError):
        tiny_model.encode("text")
    monkeypatch.setattr(tiny_model.engine, "on_device", True)
    assert len(tiny_model.encode("text")) == tiny_model.dimension


def test_a_graph_needs_room_for_the_scores_of_a_long_text(
    exact_graph, tiny_model: GritLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = len(tiny_model.embed_tokens("word " * 240)[0])
    assert tokens > 2 * PASS_TOKENS // 3
    need = graph_pass_bytes(tiny_model.file, max(tokens, PASS_TOKENS))
    monkeypatch.setattr(machine, "available_memory", lambda: need - 1)
    with pytest.raises(OutOfMemoryError, match="use the engine llama"):
        tiny_model.encode("word " * 240, max_length=None)
    monkeypatch.setattr(machine, "available_memory", lambda: need)
    tiny_model.encode("word " * 240, max_length=None)
