"""HTML, by Beautiful Soup: the text of a page, without scripts and styles."""

from collections.abc import Iterator

from bs4 import BeautifulSoup
from bs4.element import NavigableString, PageElement, PreformattedString, Tag

from gritlite.rag.document import Block, Document

# not <head>: where a page omits </head>, the body is parsed as part of it
_INVISIBLE = {"title", "script", "style", "noscript", "template", "svg", "iframe"}
_MARKS = {"a", "abbr", "b", "bdi", "bdo", "big", "del", "em", "font", "i", "ins", "mark", "q", "s"}
_TERMS = {"cite", "code", "data", "dfn", "kbd", "label", "samp", "time", "tt", "var"}
_INLINE = {*_MARKS, *_TERMS, "img", "small", "span", "strong", "sub", "sup", "u", "wbr"}
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


def parse(data: bytes | str) -> Document:
    """The headings and paragraphs of a page, in its own encoding, or of a fragment."""
    soup = BeautifulSoup(data, "html.parser")
    title = " ".join(soup.title.get_text().split()) if soup.title else ""
    return Document(title, tuple(_blocks(soup)))


def _blocks(soup: BeautifulSoup) -> Iterator[Block]:
    """The runs of text between the boundaries of block elements."""
    parts: list[str] = []
    level = 0
    for node, closes in _walk(soup):
        if isinstance(node, NavigableString):
            parts.append(_collapse_spaces(node))
            continue
        assert isinstance(node, Tag)
        if node.name == "br":
            parts.append("\n")
        elif node.name in ("td", "th"):
            parts.append("" if closes else " | " if "".join(parts).strip() else "")
        elif node.name not in _INLINE:
            if text := _strip_lines("".join(parts)):
                yield Block(text, level=level)
            parts = []
            level = 0 if closes else _HEADINGS.get(node.name, 0)
    if text := _strip_lines("".join(parts)):
        yield Block(text)


def _walk(soup: BeautifulSoup) -> Iterator[tuple[PageElement, bool]]:
    """Every visible text, and every element at its start (False) and at its end (True).

    Uses its own stack, since pages may be nested deeper than Python's call stack.
    """
    stack: list[tuple[PageElement, bool]] = [(child, False) for child in reversed(soup.contents)]
    while stack:
        node, closes = stack.pop()
        if isinstance(node, Tag):
            if node.name in _INVISIBLE:
                continue
            yield node, closes
            if not closes:
                stack.append((node, True))
                stack += [(child, False) for child in reversed(node.contents)]
        elif not isinstance(node, PreformattedString):
            yield node, False


def _collapse_spaces(node: NavigableString) -> str:
    """The text with white space as a browser shows it: kept in <pre>, else collapsed."""
    if node.find_parent("pre"):
        return str(node)
    text = " ".join(str(node).split())
    if not text:
        return " "
    return f"{' ' * node[0].isspace()}{text}{' ' * node[-1].isspace()}"


def _strip_lines(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())
