"""Text in other encodings than UTF-8: declared, detected and told, named, or refused."""

# ruff: noqa: RUF001

import pytest

from gritlite import UsageError
from gritlite.errors import FormatError
from gritlite.rag.document import Block, ReadingOptions
from gritlite.rag.formats import parse
from gritlite.rag.store import Store

TEXTS = [
    ("cp1252", "Grüße aus München. Die Gaststätte schloß früh, und die Fähre fuhr täglich zurück."),
    (
        "cp1252",
        "L'été dernier, nous avons déjeuné à Orléans, près de la forêt où était notre café.",
    ),
    (
        "cp1252",
        "The inn\u2019s owner said \u201cno\u201d \u2014 and left. "
        "Price: \u20ac5 for each of the rooms in the old house.",
    ),
    (
        "cp1250",
        "Příliš žluťoučký kůň úpěl ďábelské ódy. Hostinec založila Marie Nováková roku 1850.",
    ),
    (
        "cp1251",
        "Гостиница была основана Марией Смит в 1850 году. Паром красный и отправляется в полдень.",
    ),
    (
        "koi8-r",
        "Гостиница была основана Марией Смит в 1850 году. Паром красный и отправляется в полдень.",
    ),
    ("cp1253", "Το πανδοχείο ιδρύθηκε από τη Μαρία το 1850. Το πλοίο είναι κόκκινο."),
    (
        "shift_jis",
        "この宿はマリア・スミスが1850年に創立しました。船は正午に港を出ます。首都は東京です。",
    ),
    (
        "euc_jp",
        "この宿はマリア・スミスが1850年に創立しました。船は正午に港を出ます。首都は東京です。",
    ),
    ("iso2022_jp", "この宿はマリア・スミスが1850年に創立しました。船は正午に港を出ます。"),
    ("gb18030", "这家旅店由玛丽于1850年创立。渡轮是红色的，中午离开港口。首都是北京。" * 2),
    ("big5", "這家旅店由瑪麗於1850年創立。渡輪是紅色的，中午離開港口。首都是台北。" * 2),
    (
        "euc_kr",
        "이 여관은 1850년에 마리아가 설립했습니다. 배는 정오에 항구를 떠납니다. 수도는 서울입니다.",
    ),
    ("utf-16-le", "Grüße aus München: the byte order mark is missing, and most bytes are ASCII."),
    ("utf-16-be", "Grüße aus München: the byte order mark is missing, and most bytes are ASCII."),
]


@pytest.mark.parametrize(("encoding", "text"), TEXTS)
def test_another_encoding_is_detected_and_told(encoding, text):
    document = parse(text.encode(encoding), ".txt")
    assert document.blocks == (Block(text, "line 1"),)
    (note,) = document.notes
    assert note.startswith("read as ")
    assert note.endswith(" (detected)")


@pytest.mark.parametrize("suffix", [".txt", ".md", ".html"])
def test_every_format_of_text_detects_it(suffix):
    _, text = TEXTS[0]
    document = parse(text.encode("cp1252"), suffix)
    assert [block.text for block in document.blocks] == [text]
    assert document.notes == ("read as cp1252 (detected)",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("suffix", [".txt", ".md", ".html"])
def test_unicode_needs_no_guess(encoding, suffix):
    document = parse("Grüße 首都".encode(encoding), suffix)
    assert [block.text for block in document.blocks] == ["Grüße 首都"]
    assert document.notes == ()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"one\nna\xefve", "line 2 is not valid UTF-8: save it as UTF-8, or name its encoding"),
        ("Größe, Höhe und Länge sind ".encode() + b"\xff", "line 1 is not valid UTF-8"),  # damaged
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, "is not valid UTF-8"),
        (b"\xff\xfea", "line 1 is not valid utf-16"),
        (bytes(100), "is not text"),
    ],
)
def test_what_is_not_clear_is_refused(data, problem):
    with pytest.raises(FormatError, match=problem):
        parse(data, ".txt")


def test_a_named_encoding_is_used_where_it_is_needed():
    options = ReadingOptions(encoding="cp1257")
    assert parse("balta žąsis".encode("cp1257"), ".txt", options).blocks[0].text == "balta žąsis"
    assert parse("žąsis".encode(), ".txt", options).blocks[0].text == "žąsis"
    with pytest.raises(FormatError, match="line 2 is not valid shift_jis"):
        parse(b"one\n\xff\xff", ".txt", ReadingOptions(encoding="shift_jis"))


@pytest.mark.parametrize(
    ("declaration", "encoding"),
    [
        ("<meta charset=iso-8859-1>", "cp1252"),  # as browsers read it
        ('<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">', "cp1252"),
        ('<?xml version="1.0" encoding="windows-1252"?>', "cp1252"),
        ("<!-- <meta charset=utf-8> --><meta charset=macintosh>", "mac_roman"),
    ],
)
def test_a_page_declares_its_encoding(declaration, encoding):
    page = f"{declaration}<p>Größe – “5 £”"
    document = parse(page.encode(encoding), ".html")
    assert [block.text for block in document.blocks] == ["Größe – “5 £”"]
    assert document.notes == ()


def test_a_byte_order_mark_outweighs_a_declaration():
    page = "<meta charset=iso-8859-1><p>Größe".encode("utf-8-sig")
    assert parse(page, ".html").blocks == (Block("Größe"),)


def test_bytes_that_break_a_declaration_are_told():
    document = parse(b"<meta charset=utf-8><p>caf\xe9 noir", ".html")
    assert document.blocks == (Block("caf\ufffd noir"),)
    assert document.notes == (
        "bytes that are not utf-8, which it declares, were replaced by \ufffd",
    )


def test_a_store_remembers_the_encoding_of_a_file(tmp_path, tiny_model):
    path = tmp_path / "old.txt"
    path.write_bytes("naïve zebra".encode("cp1252"))
    other = tmp_path / "new.txt"
    other.write_text("zebra", "utf-8")
    with Store.open(tmp_path / "a.grit", tiny_model) as store:
        (failure,) = store.add(tmp_path).changes.failed
        assert failure.endswith("name its encoding")
        with pytest.raises(UsageError, match="the encoding 'klingon' is unknown"):
            store.add(tmp_path, encoding="klingon")
        changes = store.add(tmp_path, encoding="cp1252").changes
        assert (changes.added, changes.unchanged) == (1, 1)
        path.write_bytes("naïve zebra, again".encode("cp1252"))
        assert store.add(tmp_path).changes.changed == 1
        found = {passage.text for passage in store.search("zebra", mode="words")}
        assert found == {"zebra", "naïve zebra, again"}
