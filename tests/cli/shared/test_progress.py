import sys

from gritlite.cli.shared import progress


def test_nothing_is_drawn_where_nobody_looks(capsys):
    with progress.progress_bar("texts", unit="text", total=3) as bar:
        bar.update(3)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.progress_bar("texts", unit="text", total=3) as bar:
        bar.update(3)
        bar.refresh()
    out, err = capsys.readouterr()
    assert out == ""
    assert "texts: 100%" in err
    assert "3/3" in err
