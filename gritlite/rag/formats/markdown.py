"""Markdown (CommonMark with tables), by markdown-it-py: the text without the markup."""

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

from gritlite.rag.document import Block, Document
from gritlite.rag.formats import html
from gritlite.rag.formats.plain import decode

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r"^title:[ \t]*(.+?)[ \t]*$", re.MULTILINE)


def parse(data: bytes) -> Document:
    """The headings and paragraphs; a table is a paragraph with a line for each row.

    The title comes from front matter. Raises FormatError for bytes that are not UTF-8.
    """
    text = decode(data).replace("\r\n", "\n")
    title, skipped = "", 0
    if match := _FRONT_MATTER.match(text):
        line = _TITLE.search(match[1])
        title = line[1].strip("\"'") if line else ""
        skipped = match[0].count("\n")
        text = text[match.end() :]
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return Document(title, tuple(_blocks(tokens, skipped)))


def _blocks(tokens: list[Token], skipped: int) -> list[Block]:
    blocks: list[Block] = []
    place = ""
    level = 0
    rows: list[list[str]] | None = None  # of the current table
    for token in tokens:
        if token.map is not None and rows is None:
            place = f"line {skipped + token.map[0] + 1}"
        if token.type == "heading_open":
            level = int(token.tag[1:])
        elif token.type == "table_open":
            rows = []
        elif token.type == "table_close" and rows is not None:
            blocks.append(Block("\n".join(" | ".join(row) for row in rows), place))
            rows = None
        elif token.type == "tr_open" and rows is not None:
            rows.append([])
        elif token.type == "inline" and rows is not None:
            rows[-1].append(_text(token))
        elif token.type == "inline":
            blocks.append(Block(_text(token), place, level))
            level = 0
        elif token.type == "html_block":
            page = html.parse(token.content)
            blocks += [Block(block.text, place, block.level) for block in page.blocks]
        elif token.type in ("fence", "code_block"):
            blocks.append(Block(token.content.rstrip("\n"), place))
    return [block for block in blocks if block.text.strip()]


def _text(inline: Token) -> str:
    """The text of an inline token, with the descriptions of images, without link targets."""
    parts: list[str] = []
    for child in inline.children or ():
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type == "softbreak":
            parts.append(" ")
        elif child.type == "hardbreak":
            parts.append("\n")
        elif child.type == "image":
            parts.append(_text(child))
    return "".join(parts)
