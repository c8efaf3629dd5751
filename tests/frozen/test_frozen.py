"""An app that PyInstaller froze, as a folder and as one file, where there is no Python.

It runs in a root folder that holds it, the C library, a model and two documents. Run by
`make test-frozen`, which makes the environment that freezes it.
"""

import json
import os
import time

import docx
import pytest

from gritlite.system.locate import locate
from tests.rag.documents import pdf

STEPS = ["started", "isolated", "crashed", "restarted"]
STEPS += ["embedded", "chatted", "cancelled", "indexed", "answered"]
_SECONDS = 300  # for a run on a busy machine


@pytest.fixture(scope="session")
def documents(tmp_path_factory):
    """A PDF and a DOCX that hold the answers between them."""
    folder = tmp_path_factory.mktemp("documents")
    page = "The ferry to the island leaves at seven in the morning."
    (folder / "ferry.pdf").write_bytes(pdf([page], title="Ferry"))
    document = docx.Document()
    document.add_heading("The inn", 1)
    document.add_paragraph("The inn was founded by Marta Lindqvist in 1893.")
    document.save(str(folder / "inn.docx"))
    return folder


@pytest.fixture
def command(root, install, documents):
    """The app's command line."""
    model = root.add(locate("default"), "model.gguf")
    return [install("app"), model, root.add(documents, "notes"), "/tmp/notes.grit"]


def test_the_app_works_without_python(root, command):
    names = [path.name for path in root.root.rglob("*") if path.is_file()]
    assert not [name for name in names if name.startswith("python")]
    child = root.start(*command)
    output, messages = child.communicate(timeout=_SECONDS)
    assert (child.returncode, messages.decode()) == (0, "")
    steps = {step.pop("step"): step for step in map(json.loads, output.splitlines())}
    assert list(steps) == STEPS  # and "started" once: no copy of the app began anew
    assert steps["isolated"]["shape"] == [2, 576]
    assert "signal 9" in steps["crashed"]["error"]
    assert steps["restarted"] == {"same": True, "another": True}
    assert steps["embedded"]["shape"] == [2, 576]
    assert steps["embedded"]["norm"] == pytest.approx(1, abs=1e-5)
    assert len(steps["chatted"]["text"]) > 5
    assert steps["cancelled"]["reason"] == "cancelled"
    assert steps["indexed"]["failed"] == []
    assert sorted(steps["answered"]["sources"]) == ["notes/ferry.pdf", "notes/inn.docx"]
    assert "in the morning" in steps["answered"]["text"]


@pytest.mark.parametrize(
    "module", ["gritlite.runtime.isolation.child", "gritlite.rag.reader_child"]
)
def test_the_app_and_its_children_are_one_tree_that_ends_with_it(root, command, module):
    """Killed while a model has a process, or a document is read; no copy began another."""
    app = root.start(*command)
    seen: dict[int, list[str]] = {}
    deadline = time.monotonic() + _SECONDS
    while not any(module in words for words in seen.values()):
        assert app.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
        seen = dict(root.processes())
    app_ids = [number for number, words in seen.items() if words == command]
    for number, words in seen.items():
        assert number in app_ids or words[:2] == [command[0], "--gritlite-child"]
    # one child; the model's process may have begun the first decode on this machine in another
    assert 1 <= len(seen) - len(app_ids) <= (2 if "isolation" in module else 1)
    os.kill(max(app_ids), 9)  # with one file the first process only unpacks and waits
    app.communicate(timeout=60)
    root.wait_until_empty(10)
