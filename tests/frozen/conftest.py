"""The apps, frozen once, and a root folder without Python for each test."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.frozen.empty_root import EmptyRoot

HERE = Path(__file__).parent
PYINSTALLER = HERE.parents[1] / ".venv-frozen" / "bin" / "pyinstaller"


@pytest.fixture(scope="session")
def pyinstaller():
    """PyInstaller's command; its other commands lie beside it."""
    return Path(os.environ.get("PYINSTALLER", PYINSTALLER))


@pytest.fixture(scope="session")
def built(pyinstaller, tmp_path_factory):
    """Both forms of both apps."""
    folder = tmp_path_factory.mktemp("built")
    command = [pyinstaller, "--noconfirm", "--log-level", "ERROR"]
    command += ["--distpath", folder / "dist", "--workpath", folder / "work", HERE / "apps.spec"]
    subprocess.run(command, check=True)
    return folder / "dist"


@pytest.fixture
def root(tmp_path):
    """An empty root; nothing may run in it after the test."""
    if os.getuid() != 0:
        pytest.skip("chroot needs root")
    root = EmptyRoot(tmp_path / "root")
    yield root
    left = root.processes()
    for number in left:
        os.kill(number, 9)
    assert left == {}
    shutil.rmtree(root.root)


@pytest.fixture(params=["folder", "single"])
def install(request, built, root):
    """Put one form of an app into the root; return its program there."""

    def add(name):
        place = root.add(built / f"{name}-{request.param}", name)
        return f"{place}/{name}" if request.param == "folder" else place

    return add
