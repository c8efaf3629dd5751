"""Markdown (CommonMark with tables), by markdown-it-py: the text without the markup."""

import re
from collections.abc import Iterator
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from gritlite.errors import FormatError
from gritlite.rag.document import Block, Document, ReadingOptions
from gritlite.rag.formats import html
from gritlite.rag.formats.encoding import decode

_ANY_DEPTH = 1_000_000_000
_EXTENSIONS = ("table", "strikethrough")

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_YAML = re.compile(r"[\w\"'].*?:(?:[ \t].*)?|[ \t#-].*|")  # a line of a mapping
_TITLE = re.compile(r"^title:[ \t]*(?![ \t>|])(.+?)[ \t]*(?:\n|\Z)", re.MULTILINE)
_TAG = re.compile(r"</?([a-zA-Z][\w-]*)")


def parse(data: bytes, options: ReadingOptions) -> Document:
    """The headings and paragraphs; a table is a paragraph with a line for each row.

    The title comes from front matter, whose other lines are a paragraph. Raises FormatError
    for bytes in no known encoding, and for lists and quotes nested thousands deep.
    """
    decoded = decode(data, options.encoding)
    text = re.sub(r"\r\n?", "\n", decoded.text)
    title, front, skipped = "", [], 0
    if match := _front_matter(text):
        line = _TITLE.search(match[1])
        title = line[1].strip("\"'") if line else ""
        front = [Block(_TITLE.sub("", match[1], count=1).strip("\n"), "line 2")]
        skipped = match[0].count("\n")
        text = text[match.end() :]
    reader = _Reader(skipped)
    try:
        blocks = [*front, *reader.read(text)]
    except RecursionError as error:
        raise FormatError("has lists or quotes that are nested too deeply") from error
    notes = [decoded.note, html.hidden_note(reader.hidden_words)]
    return Document(title, tuple(blocks), tuple(filter(None, notes)))


def _front_matter(text: str) -> "re.Match[str] | None":
    """The lines between `---` at the start of a text, if they are YAML and not text."""
    match = _FRONT_MATTER.match(text)
    if match and match[1] and all(map(_YAML.fullmatch, match[1].splitlines())):
        return match
    return None


class _Reader:
    """Reads one text; `hidden_words` counts the words that its HTML hides."""

    def __init__(self, skipped: int) -> None:
        self.hidden_words = 0
        self._skipped = skipped  # lines before the text
        self._references: dict[str, Any] = {}
        # markdown-it drops what is nested deeper than a limit. Only inline text needs one:
        # its time is quadratic in the depth, and it keeps the text beyond.
        self._structure = MarkdownIt("commonmark", {"maxNesting": _ANY_DEPTH})
        self._structure.enable(_EXTENSIONS).disable(["inline", "text_join"])
        self._inline = MarkdownIt("commonmark").enable(_EXTENSIONS)

    def read(self, text: str) -> Iterator[Block]:
        """The blocks of the text, footnotes of one word last."""
        place = ""
        level = 0
        rows: list[list[str]] | None = None  # of the current table
        for token in self._structure.parse(text, self._references):
            if token.map is not None and rows is None:
                place = self._place(token.map)
            if token.type == "heading_open":
                level = int(token.tag[1:])
            elif token.type == "table_open":
                rows = []
            elif token.type == "table_close" and rows is not None:
                yield Block("\n".join(" | ".join(row) for row in rows), place)
                rows = None
            elif token.type == "tr_open" and rows is not None:
                rows.append([])
            elif token.type == "inline" and rows is not None:
                rows[-1].append(self._text(token).replace("\n", " "))
            elif token.type == "inline":
                yield Block(self._text(token), place, level)
                level = 0
            elif token.type == "html_block":
                page = html.Page.read(token.content)
                self.hidden_words += page.hidden_words
                yield from (Block(block.text, place, block.level) for block in page.blocks)
            elif token.type in ("fence", "code_block"):
                yield Block(token.content.rstrip("\n"), place)
        yield from self._short_footnotes()

    def _place(self, lines: list[int]) -> str:
        return f"line {self._skipped + lines[0] + 1}"

    def _text(self, inline: Token) -> str:
        (parsed,) = self._inline.parseInline(inline.content, self._references)
        return _plain(parsed)

    def _short_footnotes(self) -> Iterator[Block]:
        """CommonMark takes `[^1]: word` for the address of a link."""
        for label, link in self._references.get("references", {}).items():
            if label.startswith("^"):
                text = f"{link['href']} {link['title']}".strip()
                yield Block(text, self._place(link["map"]))


def _plain(inline: Token) -> str:
    """The text of an inline token, with the descriptions of images, without link targets."""
    parts: list[str] = []
    for child in inline.children or ():
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type == "softbreak":
            parts.append(" ")
        elif child.type == "hardbreak" or (child.type == "html_inline" and _breaks(child.content)):
            parts.append("\n")
        elif child.type == "image":
            parts.append(_plain(child))
    return "".join(parts)


def _breaks(markup: str) -> bool:
    """Whether a tag begins a new line."""
    tag = _TAG.match(markup)
    return tag is not None and (tag[1].lower() == "br" or html.is_block(tag[1].lower()))
