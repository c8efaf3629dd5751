"""Load GGUF files with llama.cpp in a child process, one after the other.

The child, this file run as a script, prints "trying NAME" before each file and
"done" at the end, so that the parent knows which file it died on.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import llama_cpp

TEXT = "hello a é\n\x00".encode()


def outcomes(files: list[Path]) -> list[str]:
    """Return each file's outcome: "refused", "no context" or "decoded: STATUS".

    Raises AssertionError if the process died.
    """
    child = subprocess.run(
        [sys.executable, __file__, *map(str, files)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},  # or an aborting ggml calls gdb
    )
    lines = child.stdout.splitlines()
    assert child.returncode == 0, f"llama.cpp died {lines[-1]}: {child.stderr}"
    assert lines[-1] == "done"
    return lines[1:-1:2]


def main(paths: list[str]) -> None:
    """Load each file, make a small context and decode a few tokens."""
    silent = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silent, None)
    llama_cpp.llama_backend_init()
    for path in paths:
        print("trying", path, flush=True)
        print(_try(path), flush=True)
    print("done", flush=True)


def _try(path: str) -> str:
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(path.encode(), model_params)
    if not model:
        return "refused"
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 64
    params.n_threads = params.n_threads_batch = 1
    context = llama_cpp.llama_init_from_model(model, params)
    if not context:
        llama_cpp.llama_model_free(model)
        return "no context"
    tokens = (ctypes.c_int32 * 64)()
    vocabulary = llama_cpp.llama_model_get_vocab(model)
    count = llama_cpp.llama_tokenize(vocabulary, TEXT, len(TEXT), tokens, 64, True, True)
    result = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, max(1, count)))
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return f"decoded: {result}"


if __name__ == "__main__":
    main(sys.argv[1:])
