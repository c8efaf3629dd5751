import io
import os
import pty
import re
import select
import sys
import time

import pytest

from gritlite.cli.shared import progress
from gritlite.cli.shared.notices import print_notice


class Screen(io.StringIO):
    """A standard error that is a terminal. A call returns what was drawn since the last one."""

    def isatty(self):
        return True

    def __call__(self):
        drawn = self.getvalue()[self.seen :]
        self.seen += len(drawn)
        return [line for line in re.split(r"[\r\n]", drawn) if line.strip()]

    seen = 0


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard error a terminal. To be called in the test, for pytest replaces it before."""
    monkeypatch.setattr(progress, "_TICK", 0.01)

    def make():
        screen = Screen()
        monkeypatch.setattr(sys, "stderr", screen)
        return screen

    return make


def until(drawn, wanted):
    """Wait for a line that matches, and return it."""
    for _ in range(500):
        time.sleep(0.01)
        for line in drawn():
            if re.search(wanted, line):
                return line
    raise AssertionError(f"{wanted} was not drawn")


def test_nothing_is_drawn_where_nobody_looks(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_TICK", 0.01)
    with progress.progress_bar("texts", unit="text", total=3) as bar, progress.waiting("loading"):
        bar.update(3)
        time.sleep(0.05)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_that_does_not_say_how_large_it_is_gets_a_bar(monkeypatch):
    parent, child = pty.openpty()  # of 0 columns and rows, as a container's may be
    with open(child, "w") as screen:
        monkeypatch.setattr(sys, "stderr", screen)
        with progress.progress_bar("embedding", unit="text", total=3) as bar:
            bar.update(2)
            bar.refresh()
            drawn = select.select([parent], [], [], 10)[0] and os.read(parent, 4096)
    os.close(parent)
    assert b"/3 texts" in drawn


def test_a_terminal_gets_a_bar(terminal):
    drawn = terminal()
    with progress.progress_bar("embedding", unit="text", total=3) as bar:
        bar.update(3)
        bar.refresh()
    last = drawn()[-1]
    assert "embedding: 100%" in last
    assert re.search(r"3/3 texts \[\d\d:\d\d<00:00, .* texts/s\]", last)


def test_the_clock_ticks_while_a_step_runs(terminal):
    drawn = terminal()
    with progress.progress_bar("embedding", unit="text", total=3):
        drawn()
        time.sleep(0.2)  # a pass that reports nothing
        assert len(drawn()) > 2
        until(drawn, r"0/3 texts \[00:01<")


def test_what_was_done_before_does_not_count_as_speed(terminal):
    drawn = terminal()
    with progress.progress_bar("embedding", unit="text", total=100, initial=90) as bar:
        assert "90/100 texts" in drawn()[0]
        time.sleep(0.1)
        bar.update(1)
        rate = re.search(r"([\d.]+) texts/s", until(drawn, "91/100 texts .* [0-9.]+ texts/s"))
    assert float(rate[1]) < 11


def test_a_slow_step_is_still_told_in_units_a_second(terminal):
    drawn = terminal()
    with progress.progress_callback("asking", unit="question") as advance:
        time.sleep(1.1)
        advance(1, 4)
        assert "questions/s" in until(drawn, "1/4 questions")


def test_without_a_total_it_counts(terminal):
    drawn = terminal()
    with progress.progress_bar("embedding", unit="text") as bar:
        bar.update(12)
        assert re.search(r"^embedding: 12 texts \[", until(drawn, "12 texts"))


def test_a_wait_gets_a_clock(terminal):
    drawn = terminal()
    with progress.waiting("loading"):
        until(drawn, r"^loading: 00:01$")


def test_a_short_wait_shows_nothing(terminal, monkeypatch):
    drawn = terminal()
    monkeypatch.setattr(progress, "_TICK", 5)
    with progress.waiting("loading"):
        pass
    assert drawn() == []


def test_a_notice_stands_on_a_line_of_its_own(terminal):
    drawn = terminal()
    with progress.progress_bar("embedding", unit="text", total=3):
        print_notice("a text was cut")
    assert "gritlite: a text was cut" in drawn()
