"""gritlite's command line, frozen: a server beside an app, where there is no Python.

An app in another language starts it and reads its address from the line that it prints.
"""

import contextlib
import json
import os
import signal
import subprocess
import urllib.request

import pytest

from gritlite.cli.main import COMMANDS
from gritlite.freezing.extras import packages
from gritlite.system.locate import locate

_SECONDS = 120  # for an answer, or an end, on a busy machine


@contextlib.contextmanager
def serving(root, program, *options):
    """A server in the root: its process, and what it says once it is ready."""
    model = root.add(locate("default"), "model.gguf")
    command = [program, "serve", model, "--port", "0", "--ready-json", *options]
    with root.start(*command) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:  # kill -9 would end the process that unpacked a single file, and nothing else
            process.terminate()
            process.communicate(timeout=_SECONDS)


def fetch(server, path, body=None):
    headers = {"Authorization": f"Bearer {server['key']}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server["url"] + path, data, headers)
    with urllib.request.urlopen(request, timeout=_SECONDS) as response:
        return response.read().decode()


def test_it_serves_the_page_and_embeds(root, install):
    with serving(root, install("command")) as (_, server):
        assert json.loads(fetch(server, "/health"))["status"] == "ready"
        assert "<!doctype html>" in fetch(server, "/")
        assert "import" in fetch(server, "/page/page.js")
        found = json.loads(fetch(server, "/v1/embeddings", {"input": ["The ferry", "Dough"]}))
        assert [len(each["embedding"]) for each in found["data"]] == [576, 576]


def test_nothing_is_left_of_a_server_that_is_ended(root, install):
    """By a signal to the process that was started, which one file hands on to the server."""
    with serving(root, install("command")) as (process, _):
        process.terminate()
        root.wait_until_empty(_SECONDS)


def test_nothing_is_left_of_a_server_that_is_killed(root, install):
    with serving(root, install("command")) as (_, server):
        os.kill(server["pid"], signal.SIGKILL)
        root.wait_until_empty(_SECONDS)


def test_the_server_ends_when_the_program_that_uses_it_is_killed(root, install):
    command = install("command")
    with (
        subprocess.Popen(["sleep", "1000"]) as program,
        serving(root, command, "--parent-pid", str(program.pid)),
    ):
        program.kill()
        root.wait_until_empty(_SECONDS)


def test_doctor_knows_the_extras_that_are_in_it(root, install):
    child = root.start(install("command"), "doctor")
    output, messages = child.communicate(timeout=_SECONDS)
    assert (child.returncode, messages.decode()) == (0, "")
    lines = {line[:18].strip(): line[18:] for line in output.decode().splitlines()}
    for extra in ("rag", "serve"):
        assert "missing" not in lines[f"extra {extra}"]
        assert lines[f"extra {extra}"].count(",") + 1 == len(packages(extra))
    assert "missing" in lines["extra train"]


@pytest.fixture(scope="session")
def contents(pyinstaller, built):
    """The names in an app's archives, and those of the files beside its program."""

    def listed(name):
        folder = built / f"{name}-folder"
        viewer = pyinstaller.with_name("pyi-archive_viewer")
        command = [viewer, "--list", "--recursive", "--brief", folder / name]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return {*output.split(), *(path.name for path in folder.rglob("*"))}

    return listed


def test_the_server_and_the_commands_are_in_apps_that_import_them(contents):
    app, command = contents("app"), contents("command")
    commands = {f"gritlite.cli.commands.{name}" for name in COMMANDS}
    server = {"gritlite.serve.server", "fastapi", "uvicorn", "pydantic_core", "page.js"}
    assert {*commands, *server} <= command
    assert not app & {"gritlite.cli", "prompt_toolkit", *commands, *server}
    assert "gritlite.runtime.isolation.child" in app
