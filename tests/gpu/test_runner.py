"""A part that crashes, hangs, raises or is stopped takes nothing with it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checks import runner
from checks.results import FAILED, NOT_DONE, PASSED, Results, read

# what it does is named like the part: it writes a line, then ends as the part says
CHILD = """
import os, signal, sys, time
from pathlib import Path
from checks.results import Results
from gritlite.system.watchers import when_input_ends

when_input_ends(lambda: os._exit(1))
name, path = sys.argv[1], Path(sys.argv[2])
Results(path, name, "gpu").check("first", True)
if name == "crashes":
    os.kill(os.getpid(), signal.SIGSEGV)
elif name == "hangs":
    time.sleep(600)
elif name == "leaves":
    sys.exit(3)
Results(path, name, "gpu").end("passed", 0.0)
"""


@pytest.fixture(autouse=True)
def module_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def run(path, limits, seconds=60):
    runner.run(limits, path, seconds, "small", child=(sys.executable, "-c", CHILD))
    return [(line["part"], line["name"], line["verdict"]) for line in read(path)]


def test_each_part_is_on_its_own(tmp_path):
    path = tmp_path / "results.jsonl"
    found = run(path, {"crashes": 20, "hangs": 2, "leaves": 20, "works": 20})
    assert found == [
        ("crashes", "first", PASSED),
        ("crashes", "end", FAILED),
        ("hangs", "first", PASSED),
        ("hangs", "end", FAILED),
        ("leaves", "first", PASSED),
        ("leaves", "end", FAILED),
        ("works", "first", PASSED),
        ("works", "end", "passed"),
    ]
    reasons = {line["part"]: line.get("reason") for line in read(path) if line["name"] == "end"}
    assert reasons == {
        "crashes": "killed by SIGSEGV",
        "hangs": "stopped after 2 s",
        "leaves": "ended with 3",
        "works": None,
    }
    assert {line["device"] for line in read(path)} == {"gpu"}


def test_parts_that_find_no_time_say_so(tmp_path):
    path = tmp_path / "results.jsonl"
    found = run(path, {"works": 20, "hangs": 20, "late": 20}, seconds=7)
    assert found[2:] == [
        ("hangs", "first", PASSED),
        ("hangs", "end", FAILED),
        ("late", "end", NOT_DONE),
    ]


RUN = """
import sys
from pathlib import Path
from checks import runner

child = (sys.executable, "-c", sys.argv[2])
runner.run({"hangs": 60}, Path(sys.argv[1]), 60, "small", child)
"""


def test_a_kill_of_all_loses_the_line_at_hand_only(tmp_path):
    path = tmp_path / "results.jsonl"
    with subprocess.Popen([sys.executable, "-c", RUN, path, CHILD]) as process:
        while not path.exists() or not read(path):
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    with path.open("a") as file:
        file.write('{"part": "hangs", "na')
    assert [line["name"] for line in read(path)] == ["first"]


def test_a_part_that_raises_has_failed(tmp_path):
    path = tmp_path / "results.jsonl"
    runner.run({"parity": 60}, path, 60, "no size")
    (line,) = read(path)
    assert (line["verdict"], line["reason"]) == (FAILED, "KeyError: 'no size'")


def test_the_command(tmp_path):
    path = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "checks.runner", str(path), "--size", "small"]
    done = subprocess.run(
        [*command, "--parts", "memory", "--patience", "10"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {line["part"] for line in read(path)} == {"memory"}
    assert done.stdout.splitlines()[0] == "memory, 400 s at most"
    wrong = subprocess.run([*command, "--parts", "nothing"], capture_output=True, check=False)
    assert wrong.returncode == 2


def test_what_failed_ends_the_command_with_1(tmp_path, monkeypatch, capsys):
    path = tmp_path / "results.jsonl"
    Results(path, "parity", "gpu").check("mistral f32", False, least_cosine=0.5)
    monkeypatch.setattr(sys, "argv", ["runner", str(path), "--parts", "build", "--seconds", "0"])
    with pytest.raises(SystemExit) as ended:
        runner.main()
    assert ended.value.code
    assert "FAILED" in capsys.readouterr().out


def test_what_a_part_has_started_ends_with_it(tmp_path):
    path = tmp_path / "pid"
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(path)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    runner.run({"one": 3}, tmp_path / "results.jsonl", 60, "small", (sys.executable, "-c", code))
    status = Path(f"/proc/{path.read_text()}/stat")
    # an orphan that nobody has reaped yet is a zombie
    assert not status.exists() or " Z " in status.read_text()


def test_a_child_whose_library_cannot_be_loaded_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    path = tmp_path / "results.jsonl"
    runner.run({"parity": 60}, path, 60, "small")
    (line,) = read(path)
    assert (line["name"], line["verdict"], line["reason"]) == ("end", FAILED, "ended with 1")
