"""Signals end a long query of SQLite, and waiting for another process, with their own exception."""

import signal
import time

import pytest

from gritlite.errors import FileError
from gritlite.rag import database
from gritlite.rag.database import Database
from tests.sent_signals import signal_in

ENDLESS = "with recursive n (x) as (select 1 union all select x + 1 from n) select count(*) from n"


@pytest.fixture
def opened(tmp_path):
    made = Database(tmp_path / "a.grit")
    yield made
    made.close()


class TerminatedError(Exception):
    """What a handler raises, as the command line's does for SIGTERM."""


@pytest.fixture
def terminate():
    """Make SIGTERM raise TerminatedError."""

    def handle(*_):
        raise TerminatedError

    before = signal.signal(signal.SIGTERM, handle)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("terminate")
@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, TerminatedError)]
)
def test_a_query_ends(opened, number, error):
    for _ in range(2):  # the connection can be used, and interrupted, again
        with pytest.raises(error), signal_in(0.5, number):
            opened.number(ENDLESS)
        assert opened.number("select 1") == 1


def test_a_handler_that_raises_nothing_does_no_harm(opened):
    arrived = []
    before = signal.signal(signal.SIGTERM, lambda *_: arrived.append(1))
    try:
        limited = ENDLESS.replace("from n)", "from n where x < 1000000)")
        with signal_in(0.5, signal.SIGTERM):
            while not arrived:
                assert opened.number(limited) == 1_000_000
    finally:
        signal.signal(signal.SIGTERM, before)
    assert arrived == [1]


def test_the_rows_of_a_query_end(opened):
    with pytest.raises(KeyboardInterrupt), signal_in(0.5):
        for _ in opened.rows(ENDLESS.replace("count(*)", "x")):
            pass


def test_waiting_for_another_process_ends(opened, tmp_path):
    other = Database(tmp_path / "a.grit")
    with other.transaction():
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt), signal_in(0.5), opened.transaction():
            pass
        assert time.monotonic() - start < database._TIMEOUT / 2
    other.close()


def test_waiting_has_an_end(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_TIMEOUT", 0.1)
    other = Database(tmp_path / "a.grit")
    with other.transaction(), pytest.raises(FileError, match="locked by another process"):
        opened.execute("update generation set number = 5")
    other.close()


def test_a_query_left_in_the_middle_of_its_rows_says_nothing(opened, capsys):
    rows = opened.rows("select 1 union all select 2")
    next(rows)
    opened.close()
    del rows
    assert capsys.readouterr().err == ""
