"""Child processes, of Python and of stand-ins for frozen apps."""

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import gritlite
from gritlite.errors import LibraryError
from gritlite.system import processes

PACKAGE = Path(gritlite.__file__).parent
PYTHON = ("python3", "python3.11", "pythonw.exe", "Python", "pypy3")

# an app that a tool froze: its file is `sys.executable`, whatever the arguments are
APP = """#!{python}
import os, sys
sys.path[:0] = {path!r}
sys.executable = __file__
{head}
with open({starts!r}, "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
{body}
"""


@pytest.fixture
def app(tmp_path):
    """Make an app; return its file, and a function that reads with what it was started."""
    path, starts = tmp_path / "notes", tmp_path / "starts"

    def make(body, head=""):
        text = APP.format(
            python=sys.executable, path=sys.path, head=head, starts=str(starts), body=body
        )
        path.write_text(text)
        path.chmod(0o755)
        return path

    return make, lambda: starts.read_text().splitlines()


SUPPORT = "import gritlite; gritlite.freeze_support()"
READ = """
from pathlib import Path
from gritlite.rag.document_reader import DocumentReader
with DocumentReader() as reader:
    print(reader.read(b"# Inns", Path("a.md")).title)
"""


def run(path, **environment):
    return subprocess.run(
        [path, "first"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


# Briefcase sets no `sys.frozen`, and Nuitka names a Python that is not there
@pytest.mark.parametrize(
    "flag", ["sys.frozen = True", "", "sys.executable = '/none/python'; sys.orig_argv = [__file__]"]
)
def test_an_app_with_freeze_support_reads_a_document_in_a_child(app, flag):
    make, starts = app
    done = run(make(READ, f"{flag}\n{SUPPORT}"))
    assert (done.stdout, done.stderr) == ("Inns\n", "")
    assert starts() == ["first"]


@pytest.mark.parametrize("flag", ["sys.frozen = True", ""])
def test_an_app_without_freeze_support_starts_nothing(app, flag):
    make, starts = app
    done = run(make(READ, flag))
    assert "LibraryError: this app cannot start gritlite.rag.reader_child" in done.stderr
    assert "call gritlite.freeze_support() first" in done.stderr
    assert starts() == ["first"]


def test_an_app_that_drops_its_arguments_is_started_once_more_at_most(app):
    make, starts = app
    done = run(make(READ, f"sys.frozen = True\nsys.argv[1:] = []\n{SUPPORT}"))
    assert "DocumentError" in done.stderr
    assert starts() == [""]


def test_a_copy_that_was_started_as_a_child_starts_no_other(app):
    make, starts = app
    later = "import gritlite.system.processes as p; p._came_through_freeze_support = True"
    done = run(make(f"{later}\n{READ}", "sys.frozen = True"))
    # the copy takes its arguments for its own, and ends when it asks for a child in its turn
    assert "DocumentError" in done.stderr
    assert starts() == ["first", "--gritlite-child gritlite.rag.reader_child"]


def test_the_child_of_an_app_has_its_arguments_and_status(app):
    make, starts = app
    body = """
import subprocess
from gritlite.system import processes
command = [*processes.module_command("gritlite.__main__"), "embed", "--nonsense"]
child = processes.start(command, stderr=subprocess.PIPE)
print(child.communicate()[1].decode(), child.returncode)
"""
    done = run(make(body, SUPPORT))
    assert "No such option" in done.stdout
    assert "--nonsense" in done.stdout
    assert done.stdout.split()[-1] == "2"
    assert starts() == ["first"]


def test_an_app_runs_no_modules_but_ours(app):
    path = app[0]("", SUPPORT)
    command = [path, "--gritlite-child", "http.server"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "takes a module of gritlite" in done.stderr


def test_freeze_support_does_nothing_in_python():
    code = f"{SUPPORT}; from gritlite.system import processes; print(processes.can_start())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_pythons_child_is_a_module_that_sees_no_working_folder(tmp_path, monkeypatch):
    assert processes.module_command("gritlite.x") == (sys.executable, "-P", "-m", "gritlite.x")
    (tmp_path / "llama_cpp.py").write_text("raise SystemExit('from the working folder')")
    monkeypatch.chdir(tmp_path)
    command = [*processes.module_command("gritlite"), "--version"]
    with processes.start(command, stdout=subprocess.PIPE) as child:
        assert child.communicate()[0].decode().split()[-1] == gritlite.__version__


@pytest.mark.parametrize("executable", PYTHON)
def test_what_is_python(executable, tmp_path, monkeypatch):
    path = tmp_path / executable
    monkeypatch.setattr(sys, "executable", str(path))
    assert not processes.runs_python()  # Nuitka names one that is not there
    path.touch()
    assert processes.runs_python()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert not processes.runs_python()


@pytest.mark.parametrize("says", [True, False])  # of old, Nuitka did not name the file
def test_an_app_of_nuitka_is_its_own_child_though_a_python_lies_beside_it(
    says, tmp_path, monkeypatch
):
    app, one_file = tmp_path / "notes.bin", tmp_path / "notes"
    for path in (app, one_file, tmp_path / "python"):
        path.touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys, "orig_argv", [str(one_file if says else app)])
    monkeypatch.setattr(processes, "_came_through_freeze_support", True)
    compiled = SimpleNamespace(standalone=True, **({"process_exe": str(app)} if says else {}))
    monkeypatch.setattr(processes, "__compiled__", compiled, raising=False)
    assert processes.module_command("gritlite.x") == (str(app), "--gritlite-child", "gritlite.x")
    compiled.standalone = False  # Nuitka made no app, but something that an installed Python runs
    assert processes.runs_python()


@pytest.mark.parametrize("executable", ["/bin/sh", "", None])
def test_what_is_an_app(executable, monkeypatch):
    monkeypatch.setattr(sys, "executable", executable)
    assert not processes.runs_python()
    with pytest.raises(LibraryError, match="is not Python"):
        processes.module_command("gritlite.x")


@pytest.mark.parametrize(("platform", "flags"), [("win32", 0x08000000), ("linux", 0)])
def test_no_child_has_a_window(platform, flags, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **options: started.append(options))
    monkeypatch.setattr(sys, "platform", platform)
    processes.start(["x"])
    assert [each["creationflags"] for each in started] == [flags]
    assert {started[0][name] for name in ("stdin", "stdout", "stderr")} == {subprocess.DEVNULL}


def test_every_child_is_started_there():
    """`cleanup` starts a shell, on POSIX only."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = ast.unparse(node.func)
                if name.startswith(("subprocess.", "os.spawn", "os.exec", "os.system", "os.popen")):
                    found.add(path.relative_to(PACKAGE).as_posix())
    assert found == {"system/processes.py", "system/cleanup.py"}


PARENT = """
import subprocess, sys, time
from gritlite.system import processes
code = "from gritlite.system.processes import end_with_parent as end; import time; end();"
command = [sys.executable, "-c", code + "print('ready', flush=True); time.sleep(60)"]
child = processes.start(command, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_child_ends_when_its_parent_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = json.loads(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(pid)


def is_running(pid):
    """Whether a process lives; one that nobody asked for its status does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(") ")[2][0] != "Z"


@pytest.mark.parametrize("parent", ["", "nonsense"])
def test_a_child_without_a_parents_id_goes_on(parent, monkeypatch):
    monkeypatch.setenv("GRITLITE_PARENT", parent)
    processes.end_with_parent()


def test_a_child_whose_parent_has_ended_already():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    code = "from gritlite.system.processes import end_with_parent as end; end(); print('on')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GRITLITE_PARENT": str(gone.pid)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")
