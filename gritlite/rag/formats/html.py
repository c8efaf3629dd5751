"""HTML, by lexbor's HTML5 parser: the text of a page as a browser shows it.

What the page hides (`hidden`, `display: none`, closed dialogs) is left out, and told. No
style sheet is read, so what a rule hides is text here. The images' descriptions are text
too.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from gritlite.rag.document import Block, Document, ReadingOptions
from gritlite.rag.formats.encoding import Decoded, decode, decode_marked

_SVG = ("annotation", "annotation-xml", "defs", "desc", "metadata")  # and MathML
_INVISIBLE = {
    *("title", "script", "style", "noscript", "template", "iframe", "noframes", "noembed"),
    *("datalist", "rp", *_SVG),
}
# https://html.spec.whatwg.org/multipage/rendering.html, form controls, and texts in SVG
_SECTIONS = {"article", "aside", "body", "footer", "header", "html", "main", "nav", "section"}
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_FLOW = {"address", "blockquote", "center", "details", "dialog", "div", "figcaption", "figure"}
_LISTS = {
    "dd",
    "dir",
    "dl",
    "dt",
    "hgroup",
    "hr",
    "li",
    "menu",
    "ol",
    "p",
    "search",
    "summary",
    "ul",
}
_TABLES = {"caption", "table", "tbody", "tfoot", "thead", "tr", "mtr", "mtd"}
_FORMS = {"button", "fieldset", "form", "legend", "optgroup", "option", "select"}
_OTHER = {"audio", "canvas", "foreignobject", "object", "text", "video"}
_BLOCKS = {*_SECTIONS, *_HEADINGS, *_FLOW, *_LISTS, *_TABLES, *_FORMS, *_OTHER}
_PREFORMATTED = {"pre", "textarea", "listing", "xmp", "plaintext"}

_HIDING = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_DECLARATION = re.compile(
    rb"""<(?:meta\b[^>]*?\bcharset|\?xml\b[^>]*?\bencoding)\s*=\s*["']?\s*([\w.:-]+)""",
    re.IGNORECASE,
)
_DECLARATION_BYTES = 4096  # of a page, in which its encoding is declared
# how a browser reads these names (https://encoding.spec.whatwg.org/#names-and-labels)
_SUPERSETS = {
    **dict.fromkeys(
        ("ascii", "us-ascii", "iso-8859-1", "iso8859-1", "latin1", "latin-1"), "cp1252"
    ),
    **dict.fromkeys(("iso-8859-9", "latin5"), "cp1254"),
    **dict.fromkeys(("tis-620", "iso-8859-11"), "cp874"),
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis", "x-sjis"), "cp932"),
    **dict.fromkeys(("gb2312", "gbk", "gb_2312-80", "x-gbk"), "gb18030"),
    **dict.fromkeys(("euc-kr", "ks_c_5601-1987"), "cp949"),
    **dict.fromkeys(("utf-16", "utf-16le", "utf-16be"), "utf-8"),
    **dict.fromkeys(("big5", "big5-hkscs"), "big5hkscs"),
}


def parse(data: bytes, options: ReadingOptions) -> Document:
    """The headings and paragraphs of a page.

    With `options.main_text` without navigation, headers and footers, as far as trafilatura
    finds the main text. Raises FormatError for bytes in no known encoding.
    """
    decoded = decode_page(data, options.encoding)
    return read_page(decoded.text, decoded.note, options)


def read_page(text: str, note: str, options: ReadingOptions) -> Document:
    """Read a page that was decoded, with a note about that."""
    page = Page.read(text)
    notes, blocks = [note], page.blocks
    if options.main_text:
        from gritlite.rag.formats.main_text import main_text

        blocks, note = main_text(_without_hidden(text), blocks)
        notes.append(note)
    else:
        notes.append(hidden_note(page.hidden_words))
    return Document(page.title, tuple(blocks), tuple(filter(None, notes)))


def is_block(tag: str) -> bool:
    """Whether an element begins a new line. Style sheets make most custom elements blocks."""
    return tag in _BLOCKS or "-" in tag


def hidden_note(words: int) -> str:
    """The note about words that a page hides; empty if there are none."""
    return f"{words:,} words that the page hides were left out" if words else ""


def decode_page(data: bytes, encoding: str) -> Decoded:
    """Decode a page: by its byte order mark, its own declaration, or as plain text is."""
    if (text := decode_marked(data)) is not None:
        return Decoded(text)
    declaration = _DECLARATION.search(_COMMENT.sub(b"", data[:_DECLARATION_BYTES]))
    if declaration is None:
        return decode(data, encoding)
    name = declaration[1].decode("ascii", "replace").lower()
    name = _SUPERSETS.get(name, name)
    try:
        return Decoded(data.decode(name))
    except LookupError:
        return decode(data, encoding)
    except UnicodeDecodeError:
        text = data.decode(name, "replace")
        return Decoded(
            text, f"bytes that are not {name}, which it declares, were replaced by \ufffd"
        )


@dataclass
class Page:
    """The title and blocks of a page or a fragment, and how many words it hides."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    hidden_words: int = 0
    _parts: list[str] = field(default_factory=list)  # the text since the last boundary
    _level: int = 0
    _preformatted: int = 0  # how many such elements are open

    @classmethod
    def read(cls, text: str) -> "Page":
        """Read a whole page or a fragment."""
        tree = LexborHTMLParser(text.replace("\0", ""))
        title = tree.css_first("title:not(svg title)")
        page = cls(" ".join(title.text().split()) if title is not None else "")
        for node, closes in _walk(tree.root, page._is_visible):
            page._take(node, closes)
        page._end_block(0)
        return page

    def _is_visible(self, node: LexborNode) -> bool:
        if node.tag in _INVISIBLE or _is_permalink(node):
            return False
        if _is_hidden(node):
            self.hidden_words += len(node.text(separator=" ").split())
            return False
        return True

    def _take(self, node: LexborNode, closes: bool) -> None:
        """Take a text, or the start or the end of an element."""
        tag = node.tag
        if tag == "-text":
            text = node.text_content or ""
            self._parts.append(text if self._preformatted else _collapse_spaces(text))
        elif tag == "br":
            self._parts.append("" if closes else "\n")
        elif tag == "img":
            self._parts.append("" if closes else node.attributes.get("alt") or "")
        elif tag in ("td", "th") and not self._preformatted:
            self._parts.append("" if closes else " | " if "".join(self._parts).strip() else "")
        elif tag in _PREFORMATTED:
            if closes or not self._preformatted:
                self._end_block(0)
            self._preformatted += -1 if closes else 1
        elif not is_block(tag or ""):
            return
        elif self._preformatted:
            self._parts.append("" if "".join(self._parts[-1:]).endswith("\n") else "\n")
        else:
            self._end_block(0 if closes else _HEADINGS.get(tag or "", 0))

    def _end_block(self, level: int) -> None:
        """Make a block of the run of text; `level` is that of the next block."""
        text = "".join(self._parts)
        if self._preformatted:
            text = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
        else:
            text = "\n".join(line.strip() for line in text.strip().split("\n"))
        if text.strip():
            self.blocks.append(Block(text, level=self._level))
        self._parts = []
        self._level = level


def _walk(
    root: LexborNode | None, is_visible: Callable[[LexborNode], bool]
) -> Iterator[tuple[LexborNode, bool]]:
    """Every visible text, and every element at its start (False) and at its end (True).

    Does not recurse, since pages may be nested deeper than Python's call stack.
    """
    stack = [(root, False)] if root is not None else []
    while stack:
        node, closes = stack.pop()
        if node.is_element_node and not closes:
            if not is_visible(node):
                continue
            stack.append((node, True))
            children = list(node.iter(include_text=True))
            stack += [(child, False) for child in reversed(children)]
        if node.is_element_node or node.is_text_node:
            yield node, closes


def _without_hidden(text: str) -> str:
    """The page without what it hides and without permalinks."""
    tree = LexborHTMLParser(text.replace("\0", ""))
    for node in reversed(tree.css("a[href], [hidden], [style], [popover], dialog")):
        if _is_permalink(node) or _is_hidden(node):
            node.decompose()  # parents come last: it frees the children
    return tree.html or ""


def _is_hidden(node: LexborNode) -> bool:
    """Whether the element's own attributes hide it."""
    attributes = node.attributes
    if "hidden" in attributes and (attributes["hidden"] or "").lower() != "until-found":
        return True
    if "popover" in attributes or (node.tag == "dialog" and "open" not in attributes):
        return True
    return _HIDING.search(attributes.get("style") or "") is not None


def _is_permalink(node: LexborNode) -> bool:
    """Whether it is a sign that links to a place of a page, as documentation tools add."""
    if node.tag != "a" or "#" not in (node.attributes.get("href") or ""):
        return False
    return not any(map(str.isalnum, node.text()))


def _collapse_spaces(text: str) -> str:
    """The text with white space as a browser shows it."""
    collapsed = " ".join(text.split())
    if not collapsed:
        return " "
    return f"{' ' * text[0].isspace()}{collapsed}{' ' * text[-1].isspace()}"
