"""`gritlite train` in a process of its own: what it prints, and what Ctrl-C leaves."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.oracle.test_train import recipe_file
from tests.tiny import make_trainable

pytestmark = pytest.mark.torch


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    base = make_trainable(tmp_path / "base")
    return recipe_file(tmp_path, base, 4000)


def started(recipe: Path, *options: str) -> subprocess.Popen[str]:
    line = [
        sys.executable,
        "-m",
        "gritlite",
        "train",
        str(recipe),
        "-o",
        str(recipe.parent / "run"),
    ]
    return subprocess.Popen(
        [*line, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_ctrl_c_keeps_a_checkpoint_that_resumes(recipe: Path) -> None:
    first = stopped_after(started(recipe), recipe, 50)
    second = stopped_after(started(recipe, "--resume"), recipe, first + 1)
    assert second > first


def stopped_after(process: subprocess.Popen[str], recipe: Path, steps: int) -> int:
    """Press Ctrl-C once so many steps are written down; how many are in the end."""
    log = recipe.parent / "run" / "loss.jsonl"  # written every 50 steps
    while not log.exists() or len(log.read_text().splitlines()) < steps:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, messages = process.communicate(timeout=60)
    done = len(log.read_text().splitlines())
    assert (process.returncode, output) == (130, "")
    assert messages == f"gritlite: stopped after step {done:,}: continue with --resume\n"
    return done


def test_a_bad_recipe_is_one_line_and_leaves_nothing(recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("steps", "stops"))
    process = started(recipe)
    output, messages = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, "")
    assert messages.count("\n") == 1
    assert "stops is not known" in messages
    assert not (recipe.parent / "run").exists()
