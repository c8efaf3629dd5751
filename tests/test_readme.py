"""What the README and the pages beside it show works when it is pasted."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts import terminal

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]

BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SHELL = [text for language, text in BLOCKS if language == "sh"]
PYTHON = [text for language, text in BLOCKS if language == "python"]
INSTALL = [text for text in SHELL if "pip install" in text]
MAKE = [text for text in SHELL if text.startswith("make ")]
LARGE = [text for text in SHELL if "gritlm-7b" in text.lower()]
EXAMPLES = [text for text in SHELL if text not in (*INSTALL, *MAKE, *LARGE)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What a reader has in a clone of the repository, without environments and history."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("Makefile", "README.md", "LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("examples", "gritlite", "requirements"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    packages = Path("tests/clients/node")  # of npm, which the Makefile installs by their lists
    shutil.copytree(ROOT / packages, folder / packages, ignore=shutil.ignore_patterns("node_*"))
    return folder


def run(script, folder, **environment):
    """Run a block as it stands, with this environment's `gritlite` and `pip`; every line must do.

    Python imports gritlite from where the tests do.
    """
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (script, done.stdout, done.stderr)
    return done.stdout


def test_every_block_is_run_or_needs_the_large_model():
    assert {language for language, _ in BLOCKS} == {"sh", "python"}
    assert len(INSTALL) == len(MAKE) == len(LARGE) == len(PYTHON) == 1
    assert len(EXAMPLES) == 5
    before = README[: README.index(LARGE[0])]
    heading = re.findall(r"^#+ (.*)$", before, re.MULTILINE)[-1]
    assert "GritLM itself" in heading
    assert "14.5 GB" in heading


@pytest.mark.real
def test_the_shell_examples_run(clone):
    out = [run(block, clone) for block in EXAMPLES]
    assert "examples/notes/ferry.md" in out[2]
    assert "Margaret Bell" in out[2]
    assert "Margaret Bell" in out[3]
    assert (clone / "states.grit.states").is_dir()
    assert re.search(r"Spearman +0\.\d+", out[4])


@pytest.mark.real
def test_the_python_example_runs(clone):
    script = f'exec {sys.executable} -c "$EXAMPLE"'
    cosines, _, answers = run(script, clone, EXAMPLE=PYTHON[0]).partition("\n")
    assert re.fullmatch(r"\[\[0\.\d+\]\]", cosines)
    assert "1811" in answers


def test_the_install_line_installs_the_package(clone, tmp_path):
    """Without what it depends on, which stands in this environment already."""
    quiet = {
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    run(INSTALL[0], clone, PIP_TARGET=str(tmp_path), **quiet)
    assert (tmp_path / "gritlite" / "runtime" / "llama").is_dir()
    (extras,) = re.findall(r"\.\[(.*)\]", INSTALL[0])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_the_make_targets_are_there(clone):
    """Shown, not run: `make test` is what runs this."""
    assert "pytest" in run(MAKE[0], clone, MAKEFLAGS="--dry-run")


def test_the_picture_shows_commands_of_the_readme():
    picture = terminal.PICTURE.read_text(encoding="utf-8")
    shown = re.sub(r"<[^>]*>", "", picture).replace("&#160;", " ").replace("&quot;", '"')
    for command in terminal.COMMANDS:
        assert f"{command}\n" in "".join(EXAMPLES), command
        assert f"$ {command}" in shown, command
    assert "font-face" not in picture  # nothing from the web


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), (page, target)


OURS = {"gritlite", "tests", "benchmarks", "recipes", "scripts", "examples"}
NOT_HERE = {"rag/eval.py", "gritlite/cli/commands/NAME.py"}  # the official repository's; a pattern


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page):
    """`tests/oracle/test_train.py`, and `runtime/chat.py` for `gritlite/runtime/chat.py`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"`((?:[\w.]+/)+\w+\.(?:py|toml))`", text):
        folder = ROOT if name.split("/")[0] in OURS else ROOT / "gritlite"
        assert (folder / name).exists() or name in NOT_HERE, name
