import sys
import time

from gritlite.cli.shared import progress


def test_nothing_is_drawn_where_nobody_looks(capsys):
    with progress.bar("texts", unit="text", total=3) as shown:
        shown.update(3)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.bar("texts", unit="text", total=3) as shown:
        shown.update(3)
        shown.refresh()
    out, err = capsys.readouterr()
    assert out == ""
    assert "texts: 100%" in err
    assert "3/3" in err


def test_a_conversion_counts_tensors_and_bytes(monkeypatch, capsys):
    from gritlite.convert import ConversionProgress

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.conversion_bar() as show:
        show(ConversionProgress("a", 1, 2, 1 << 20, 4 << 20))
        time.sleep(0.2)  # tqdm draws ten times a second
        show(ConversionProgress("b", 2, 2, 4 << 20, 4 << 20))
    err = capsys.readouterr().err
    assert "tensor 2/2" in err
    assert "4.00M/4.00M" in err
