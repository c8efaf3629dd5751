"""Fuzz a hub's answers: `gritlite pull org/name` from a server that says anything.

The answer is taken, or refused with an error of gritlite; and no file is written outside the
cache or with bytes whose digest differs from the one that the answer states.
"""

import atexit
import json
import os
import random
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from fuzz.counting import Outcome, check_message
from fuzz.mutation import any_value, mutate_bytes, mutate_json
from gritlite.errors import GritLiteError
from gritlite.pull.huggingface import fetch
from tests.pull.local_servers import COMMIT, Hub, git_id, sha256

_NAME = "org/model"
_FILES = {"model.gguf": b"GGUF weights", "config.json": b"{}", "sub/model.safetensors": b"abc"}
_COMMITS = ("../../../../evil", "/etc", COMMIT.upper(), COMMIT[:39], COMMIT + "\n", "", "..")
_NAMES = (
    "../x.gguf", "/x.gguf", "a/../../x.gguf", "C:\\x.gguf", "x\0.gguf", "\ud800.gguf", "a" * 300,
    "con.gguf", ".", "..", "a//b.gguf", "-x.gguf", "x.gguf/", "./x.gguf", "x\n.gguf",
)  # fmt: skip


@cache
def hub() -> Hub:
    """Start the server; huggingface_hub asks it from then on."""
    server = Hub(_NAME, _FILES, {"model.gguf"})
    server.__enter__()
    os.environ["HF_ENDPOINT"] = server.url
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    folder = tempfile.mkdtemp(prefix="gritlite-fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (Path(folder) / "outer").mkdir()
    os.environ["GRITLITE_CACHE"] = str(Path(folder) / "outer" / "cache")
    os.environ["HF_HOME"] = str(Path(folder) / "hub")
    return server


def case(random: random.Random) -> Outcome:
    """Answer a question about a repository wrongly."""
    server = hub()
    home = Path(os.environ["GRITLITE_CACHE"])
    shutil.rmtree(home, ignore_errors=True)
    server.nonsense, server.faults.wrong = _answer(random), {}
    if random.random() < 0.1:
        name = random.choice(list(_FILES))
        server.faults.wrong = {name: mutate_bytes(random, _FILES[name])}
    try:
        path, _ = fetch(f"{_NAME}:model.gguf" if random.random() < 0.5 else _NAME)
    except GritLiteError as error:
        check_message(error)
        outcome: Outcome = "refused"
    else:
        assert path.is_relative_to(home), path
        outcome = "right"
    assert {each.name for each in home.parent.iterdir()} <= {"cache"}
    assert {each.name for each in home.parents[1].iterdir()} <= {"outer", "hub"}
    written = {each for each in (home / "hub").rglob("*.gguf") if each.is_file()}
    assert all(each.read_bytes() == _FILES["model.gguf"] for each in written), written
    return outcome


def _answer(random: random.Random) -> Any:
    """Return an answer, one part of which is wrong, as JSON or as bytes."""
    siblings: list[Any] = [
        {"rfilename": name, "size": len(data), "blobId": git_id(data)}
        | ({"lfs": _large(data)} if name == "model.gguf" else {})
        for name, data in _FILES.items()
    ]
    answer: Any = {"id": _NAME, "sha": COMMIT, "siblings": siblings, "gated": False, "tags": []}
    kind = random.randrange(10)
    if kind == 0:
        answer["sha"] = random.choice(_COMMITS)
    elif kind == 1:
        siblings[random.randrange(len(siblings))]["rfilename"] = random.choice(_NAMES)
    elif kind == 2:
        answer = any_value(random)
    elif kind < 9:
        for _ in range(random.choice((1, 1, 2, 3))):
            answer = mutate_json(random, answer)
    body = json.dumps(answer).encode()
    return mutate_bytes(random, body) if kind == 9 else body


def _large(data: bytes) -> dict[str, Any]:
    return {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
