"""Several processes on one store, and killed processes: no document is ever half there."""

import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gritlite.errors import FileError
from gritlite.rag import maintenance
from gritlite.rag.store import Store

FILES = 40
KILLS = 20
ADD = """
import sys
from pathlib import Path
from gritlite import GritLM
from gritlite.rag.store import Store
with GritLM(sys.argv[1], threads=1, pass_tokens=64) as model:
    with Store.open(sys.argv[2], model, chunk_tokens=32, states="q8_0") as store:
        print("open", flush=True)
        store.add(sys.argv[3])
        print("done", flush=True)
"""


def adding(model, store, folder):
    """Start another process that adds a folder."""
    return subprocess.Popen(
        [sys.executable, "-c", ADD, str(model), str(store), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def duration(model, store, folder):
    """The seconds that it takes to add a folder on this machine now."""
    with adding(model, store, folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        start = time.perf_counter()
        assert process.stdout.readline() == "done\n"
        return time.perf_counter() - start


def write(folder: Path, number: int, generation: int) -> None:
    """Write a document of four chunks, each of which names the document and its version."""
    parts = [f"# Part {part}\n\nFile {number}, writing {generation}.\n" for part in range(4)]
    (folder / f"{number}.md").write_text("\n".join(parts))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "notes"
    made.mkdir()
    for number in range(FILES):
        write(made, number, 0)
    return made


def writings(store: Store) -> dict[int, set[tuple[str, str]]]:
    """The chunks (text, heading) of each file that a search can find."""
    found: dict[int, set[tuple[str, str]]] = {}
    for passage in store.search("writing", FILES * 8, mode="words"):
        number = int(passage.source.stem)
        found.setdefault(number, set()).add((passage.text, passage.heading))
    return found


def check_writings(store: Store, wanted: dict[int, set[int]]) -> dict[int, set[tuple[str, str]]]:
    """Check that every file in the store is a whole version, and one of those expected."""
    found = writings(store)
    for number, chunks in found.items():
        (text,) = {text for text, _ in chunks}
        assert len(chunks) == 4
        assert text in {f"File {number}, writing {writing}." for writing in wanted[number]}
    return found


def check(store: Store, wanted: dict[int, set[int]]) -> None:
    """Check database and states, and that searches by words and by vectors agree."""
    assert maintenance.verify(store.path) == []
    found = check_writings(store, wanted)
    by_vectors = store.search("writing", FILES * 8, mode="vectors")
    assert len(by_vectors) == sum(len(chunks) for chunks in found.values())


def test_kill_9_at_random_moments(tmp_path, folder, tiny_path, tiny_model):
    moments = random.Random(5)
    path = tmp_path / "a.grit"
    wanted = {number: {0} for number in range(FILES)}
    whole = duration(tiny_path, tmp_path / "whole.grit", folder)
    unfinished = 0
    for generation in range(1, KILLS + 1):
        process = adding(tiny_path, path, folder)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(moments.uniform(0, 0.8 * whole))
        process.kill()
        output, errors = process.communicate()
        unfinished += "done" not in output
        assert not errors
        with Store.open(path, tiny_model) as store:
            check(store, wanted)
        for number in moments.sample(range(FILES), 35):
            write(folder, number, generation)
            wanted[number].add(generation)
    assert unfinished > KILLS / 4, "the kills came too late to mean anything"
    with Store.open(path, tiny_model) as store:
        store.add(folder)
        check(store, {number: {max(each)} for number, each in wanted.items()})
        files = list(Path(f"{path}.states").rglob("*.*"))
        assert len(files) == maintenance.info(path).states.states == FILES * 4
        assert len(writings(store)) == FILES


def test_two_writers_at_once(tmp_path, folder, tiny_path, tiny_model):
    path = tmp_path / "a.grit"
    with Store.open(path, tiny_model, chunk_tokens=32, states="q8_0") as store:
        with store._writing():
            _, errors = adding(tiny_path, path, folder).communicate(timeout=60)
        assert f"another writer is adding to {path}" in errors
        store.add(folder)
        assert len(writings(store)) == FILES


HOLD = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_thread_searches_while_another_adds(tmp_path, folder, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model, chunk_tokens=32) as store:
        store.add(folder / "0.md")
        with ThreadPoolExecutor() as pool, store._writing():
            found = pool.submit(store.search, "writing", 4, mode="words").result(timeout=30)
            with pytest.raises(FileError, match="another writer is adding"):
                pool.submit(store.add, folder).result(timeout=30)
        assert len(found) == 4


def test_the_lock_ends_with_its_process(tmp_path, folder, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model) as store:
        line = [sys.executable, "-c", HOLD, f"{store.path}.lock"]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(FileError, match="another writer is adding"):
                store.add(folder)
            holder.kill()
        store.add(folder)
        assert len(writings(store)) == FILES


def test_searching_while_another_process_adds(tmp_path, folder, tiny_path, tiny_model):
    path = tmp_path / "a.grit"
    process = adding(tiny_path, path, folder)
    assert process.stdout is not None
    process.stdout.readline()
    sizes = []
    with Store.open(path, tiny_model) as store:
        while process.poll() is None:
            sizes.append(len(check_writings(store, {number: {0} for number in range(FILES)})))
        _, errors = process.communicate()
        assert not errors
        assert len(writings(store)) == FILES
    assert sizes == sorted(sizes)
