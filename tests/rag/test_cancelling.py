"""Long work on a store reports its progress and can be cancelled; the next run does the rest."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gritlite.errors import CancelledError
from gritlite.rag import document_reader, maintenance
from gritlite.rag.store import Store
from tests.rag.documents import notes

FILES = 30


@pytest.fixture
def store(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model, chunk_tokens=64) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "many"
    made.mkdir()
    for number in range(FILES):
        text = f"File {number}. " + "The ferry is red. " * 30
        (made / f"{number}.txt").write_text(text)
    return made


class Cancel:
    """A progress callback that keeps its calls, and cancels once `share` is done."""

    def __init__(self, share: float = 2.0) -> None:
        self.event = threading.Event()
        self.calls: list[tuple[int, int]] = []
        self._share = share

    def __call__(self, done: int, total: int) -> None:
        self.calls.append((done, total))
        if total and done / total >= self._share:
            self.event.set()


def check_calls(calls, total):
    assert calls == sorted(calls)
    assert {each for _, each in calls} == {total}
    assert calls[0][0] == 0
    assert calls[-1] == (total, total)


def test_progress_rises_to_its_total(store, folder):
    scanned, embedded = Cancel(), Cancel()
    store.scan(folder, progress=scanned)
    check_calls(scanned.calls, FILES)
    tokens = store.plan().pending.tokens
    store.embed(progress=embedded)
    check_calls(embedded.calls, tokens)
    store.remove(folder)
    added, again, texts = Cancel(), Cancel(), Cancel()
    store.add(folder, progress=added)
    store.add(folder, progress=again)
    store.add_texts(["The ferry is red."] * 3, ids=["a", "b", "c"], progress=texts)
    for each in (added, again, texts):
        check_calls(each.calls, 1000)
    assert len(added.calls) > FILES


def test_a_scan_is_cancelled_and_resumed(store, folder):
    cancel = Cancel(0.5)
    with pytest.raises(CancelledError, match="reading documents was cancelled"):
        store.scan(folder, progress=cancel, cancel=cancel.event)
    assert 0 < store.condition().pending <= FILES // 2
    update = store.add(folder)
    assert update.changes.added == FILES
    assert 0 < update.changes.resumed <= FILES // 2
    assert store.condition().documents == FILES
    assert maintenance.verify(store.path) == []


@pytest.mark.parametrize("states", ["none", "f16"])
def test_embedding_is_cancelled_and_resumed(tmp_path, tiny_model, folder, states):
    with Store.open(tmp_path / "b.grit", tiny_model, chunk_tokens=64, states=states) as store:
        cancel = Cancel(0.5)
        with pytest.raises(CancelledError):
            store.add(folder, progress=cancel, cancel=cancel.event)
        found = {passage.document for passage in store.search("ferry", 999, mode="vectors")}
        assert store.condition().documents == len(found)
        assert store.condition().pending == FILES - len(found) > 0
        pending = store.plan().pending.tokens
        rest = Cancel()
        store.embed(progress=rest)
        check_calls(rest.calls, pending)
        assert store.condition().documents == FILES
        assert maintenance.verify(store.path) == []


def test_adding_texts_is_cancelled_and_resumed(store):
    texts = ["The ferry is red. " * 30 for _ in range(FILES)]
    ids = [str(number) for number in range(FILES)]
    for share in (0.05, 0.5):  # while texts are cut, and while they are embedded
        cancel = Cancel(share)
        with pytest.raises(CancelledError):
            store.add_texts(texts, ids=ids, progress=cancel, cancel=cancel.event)
        assert store.condition().pending > 0
    update = store.add_texts(texts, ids=ids)
    assert update.added + update.unchanged == FILES
    assert store.condition().documents == FILES
    assert maintenance.verify(store.path) == []


def test_what_is_cancelled_at_once_does_nothing(store, folder):
    cancel = threading.Event()
    cancel.set()
    for work in (
        lambda: store.add(folder, cancel=cancel),
        lambda: store.scan(folder, cancel=cancel),
        lambda: store.add_texts(["a"], cancel=cancel),
    ):
        with pytest.raises(CancelledError):
            work()
    assert store.documents() == []
    assert (folder / "0.txt").exists()


def test_a_cancelled_scan_removes_nothing(store, folder):
    store.add(folder)
    (folder / "0.txt").unlink()
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        store.scan(folder, cancel=cancel)
    assert len(store.documents()) == FILES


def test_reading_one_document_is_cancelled(store, folder, monkeypatch):
    """The child process that reads it is ended, though it would go on."""
    hang = ("-c", "import time; time.sleep(600)")
    line = [sys.executable, *hang]
    monkeypatch.setattr(document_reader.processes, "module_command", lambda *_: line)
    cancel = threading.Event()
    timer = threading.Timer(0.5, cancel.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(CancelledError):
        store.scan(folder, cancel=cancel)
    assert time.monotonic() - started < 60
    timer.join()


def test_cutting_one_document_is_cancelled(store, tmp_path, monkeypatch):
    """A long text is cut by many calls that count tokens."""
    cancel = threading.Event()
    tokenize, calls = store.model.tokenize, []

    def counted(text):
        calls.append(text)
        if len(calls) == 5:
            cancel.set()
        return tokenize(text)

    monkeypatch.setattr(store.model, "tokenize", counted)
    with pytest.raises(CancelledError):
        store.add_texts(["The ferry is red. " * 1000], cancel=cancel)
    assert len(calls) == 5


def test_threads_search_list_and_answer_while_one_adds(store, folder, tmp_path):
    """What is found meanwhile is whole: all passages of a document, or none."""
    store.add(notes(tmp_path / "notes"), metadata={"kind": "note"})
    sizes: set[int] = set()
    with ThreadPoolExecutor(4) as pool:
        adding = pool.submit(store.add, folder, metadata={"kind": "many"})

        def use() -> None:
            while not adding.done():
                assert len(store.search("inn", 9, where={"kind": "note"})) == 4
                passages = store.search("ferry", 999, mode="words", where={"kind": "many"})
                found = {passage.document for passage in passages}
                expected = {each.id: each.chunks for each in store.documents({"kind": "many"})}
                for document in found:
                    of_it = [each for each in passages if each.document == document]
                    assert len(of_it) == expected[document]
                sizes.add(len(found))

        for each in [pool.submit(use) for _ in range(2)]:
            each.result(timeout=120)
        adding.result(timeout=120)
    assert len(store.search("ferry", 999, mode="words", where={"kind": "many"})) >= FILES
    assert sizes
    assert maintenance.verify(store.path) == []


def test_a_callback_that_raises_ends_the_work(store, folder):
    def fail(done: int, total: int) -> None:
        if done > total / 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.add(folder, progress=fail)
    store.add(folder)
    assert store.condition().documents == FILES
