"""Without its package an adapter's import says what to install."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("chromadb", "chromadb", "chromadb"),
        ("langchain", "langchain_core", "langchain"),
        ("langchain.embeddings", "langchain_core", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
    ],
)
def test_the_extra_is_named(module, package, extra):
    code = f"import sys; sys.modules[{package!r}] = None; import gritlite.integrations.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f'run  pip install "gritlite[{extra}]"' in done.stderr.splitlines()[-1]
