"""Every format yields its whole text in order, and bad files raise clear errors."""

import io
import unicodedata
import zipfile

import pytest

from gritlite.errors import FormatError
from gritlite.rag.document import Block
from gritlite.rag.formats import FORMATS, clean, parse
from tests.rag import documents


def test_text_is_cut_at_blank_lines():
    data = b"\xef\xbb\xbfOne line\nanother\n\n  \nlast\n"
    assert parse(data, ".txt").blocks == (
        Block("One line\nanother", "line 1"),
        Block("last", "line 5"),
    )


def test_lines_that_an_editor_broke_are_joined():
    data = b"This sentence goes on for more than forty characters\nand on. The end.\n"
    (block,) = parse(data, ".txt").blocks
    assert block.text == ("This sentence goes on for more than forty characters and on. The end.")


def test_utf16_is_read_where_its_mark_says_so():
    assert parse("Grüße".encode("utf-16"), ".txt").blocks == (Block("Grüße", "line 1"),)


BROKEN = "photo\u00adsynthesis co\u00ad\noperate\x00\x02\x1b[31m\x7f\x9f\tred\u2028end"
WHOLE = "photosynthesis cooperate[31m\tred\nend"


def test_no_control_character_comes_out_of_a_format():
    assert clean(BROKEN) == WHOLE
    for suffix, data in (
        (".txt", BROKEN.encode()),
        (".md", f"# {BROKEN}\n\n{BROKEN}".encode()),
        (".html", f"<title>{BROKEN}</title><h1>{BROKEN}</h1><p>{BROKEN}".encode()),
        (".docx", documents.word("photo\u00adsynthesis")),
    ):
        document = parse(data, suffix)
        text = "".join([document.title, *(block.text for block in document.blocks)])
        assert "photosynthesis" in text
        assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cf") and c not in "\t\n"]


def bomb() -> bytes:
    """A DOCX that declares an excessive unpacked size."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", bytes(300 << 20))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "suffix", "problem"),
    [
        (documents.encrypted_pdf(), ".pdf", "is encrypted"),
        (documents.pdf(["text"])[200:], ".pdf", "is damaged"),
        (b"", ".pdf", "is damaged"),
        (documents.pdf([""]), ".pdf", "has no text in its 1 pages"),
        (documents.word()[:5000], ".docx", "is damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ".docx", "is encrypted, or a .doc"),
        (b"", ".docx", "is damaged"),
        (bomb(), ".docx", "unpacks to 300 MiB"),
    ],
)
def test_bad_files_are_told(data, suffix, problem):
    with pytest.raises(FormatError, match=problem):
        parse(data, suffix)


@pytest.mark.parametrize("suffix", sorted(set(FORMATS) - {".pdf", ".docx"}))
def test_an_empty_file_has_no_blocks(suffix):
    assert parse(b"", suffix).blocks == ()
