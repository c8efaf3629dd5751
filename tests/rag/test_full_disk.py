"""A disk that fills up while a store is updated: a small tmpfs in its own namespace."""

import re
import shutil
import subprocess
import sys

import pytest

ADD = """
import sys
from pathlib import Path
from gritlite import GritLM
from gritlite.errors import FileError
from gritlite.rag import maintenance
from gritlite.rag.store import Store
model, path, states, folder = sys.argv[1:]
with GritLM(model, threads=1, pass_tokens=64) as loaded:
    try:
        with Store.open(path, loaded, chunk_tokens=64, states=states) as store:
            store.add(folder)
            print(store.state_usage().states, len(store.search("ferry", 1000, mode="vectors")))
    except FileError as error:
        print(error)
print(maintenance.verify(Path(path)))
"""
RUN = """
set -e
disk=$1 small=$2 python=$3; shift 3
mount -t tmpfs -o size=$small none "$disk"
"$python" -c "$@"
mount -o remount,size=64m "$disk"
"$python" -c "$@"
"""
CHUNKS = 60


def in_a_namespace(*arguments):
    """Run a program as root of a new namespace, where it can mount file systems."""
    command = ["unshare", "--map-root-user", "--mount", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def may_mount(folder):
    """Whether this system lets users create namespaces and mount in them."""
    if shutil.which("unshare") is None:
        return False
    return not in_a_namespace("mount", "-t", "tmpfs", "none", folder).returncode


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
@pytest.mark.parametrize(
    ("states", "size", "what"),
    # the log of changes takes two megabytes before the first state is written
    [("f16", "2400k", r"\.states/0/"), ("none", "150k", r"notes\.grit")],
)
def test_a_full_disk_loses_nothing(tmp_path, tiny_path, states, size, what):
    if not may_mount(tmp_path):
        pytest.skip("this system does not let users mount a small disk")
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(CHUNKS):
        (folder / f"{number}.txt").write_text(f"Boat {number}: " + "the ferry leaves. " * 3)
    disk = tmp_path / "disk"
    disk.mkdir()
    store = disk / "notes.grit"
    found = in_a_namespace(
        *("sh", "-c", RUN, "sh", disk, size, sys.executable),
        *(ADD, tiny_path, store, states, folder),
    )
    assert found.stderr == ""
    full, sound, done, whole = found.stdout.splitlines()
    assert full.startswith("the disk is full while writing ")
    assert re.search(what, full)
    assert (sound, whole) == ("[]", "[]")
    assert done == f"{CHUNKS if states != 'none' else 0} {CHUNKS}"
