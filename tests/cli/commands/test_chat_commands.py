import pytest

from gritlite.cli.commands.chat_commands import NAMES, complete
from gritlite.cli.commands.chat_input import is_open, unquoted
from gritlite.system import cache


@pytest.mark.parametrize(
    ("begun", "found"),
    [
        ("", []),
        ("Hello /s", []),
        ("/", list(NAMES)),
        ("/sa", ["/save", "/save!"]),
        ("/set ", None),
        ("/set top", ["top_k", "top_p"]),
        ("/set top_k 4", []),
        ("/load no/such/folder/x", []),
        ("/load ~nobody-of-this-name/x", []),
        ("/retry x", []),
    ],
)
def test_completions(begun, found):
    assert complete(begun) == found or (found is None and len(complete(begun)) == 10)


def test_files_complete_as_shells_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a folder").mkdir()
    for name in ("alpha.json", ".hidden", "beta.json"):
        (tmp_path / name).write_text("")
    assert complete("/save ") == ["a folder/", "alpha.json", "beta.json"]
    assert complete("/load al") == ["alpha.json"]
    assert complete("/load .h") == [".hidden"]
    assert complete("/load ~/b") == ["~/beta.json"]


def test_models_complete_by_name_and_as_files(cache_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.gguf").write_bytes(b"")
    path = cache.folder("hub") / "model.gguf"
    path.write_bytes(b"")
    cache.register("org/name", path)
    assert complete("/model org") == ["org/name"]
    assert complete("/model mi") == ["mine.gguf"]


@pytest.mark.parametrize(
    ("text", "opened", "inner"),
    [
        ("plain", False, "plain"),
        (" plain ", False, " plain "),
        ('"""', True, '"""'),
        ('""""', True, '""""'),
        ('""""""', False, ""),
        ('"""one"""', False, "one"),
        ('"""one\ntwo', True, '"""one\ntwo'),
        ('  """\none\n\ntwo\n"""  ', False, "one\n\ntwo"),
        ('say """ this', False, 'say """ this'),
        ('/system """Be', True, '/system """Be'),
        ("/system Be", False, "/system Be"),
    ],
)
def test_triple_quotes(text, opened, inner):
    assert is_open(text) is opened
    assert unquoted(text) == inner
