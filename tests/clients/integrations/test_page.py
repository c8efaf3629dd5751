"""The examples of docs/integrations.md run as they stand, with the default model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
OUTPUTS = ["Margaret Bell", "name='Anna' age=12\n", "Margaret Bell", "Margaret Bell"]


@pytest.mark.real
@pytest.mark.parametrize(("example", "output"), list(zip(EXAMPLES, OUTPUTS, strict=True)))
def test_an_example_runs(example, output, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(output, done.stdout)
    assert done.stderr == ""


def test_the_page_names_every_class():
    from gritlite.integrations import chromadb, langchain, llama_index

    public = {*langchain.__all__, *llama_index.__all__, chromadb.GritLMEmbeddingFunction.__name__}
    rows = "".join(re.findall(r"^\| `.*$", PAGE, re.MULTILINE))
    assert {name for name in re.findall(r"`(\w+)`", rows) if name[0].isupper()} == public
