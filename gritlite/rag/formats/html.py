"""HTML, by Beautiful Soup: what a page says, without its scripts and styles."""

from collections.abc import Iterator

from bs4 import BeautifulSoup
from bs4.element import NavigableString, PageElement, PreformattedString, Tag

from gritlite.rag.document import Block, Document

# not <head>: a page may leave out where it ends, and then the body stands in it
_UNSEEN = {"title", "script", "style", "noscript", "template", "svg", "iframe"}
_MARKS = {"a", "abbr", "b", "bdi", "bdo", "big", "del", "em", "font", "i", "ins", "mark", "q", "s"}
_TERMS = {"cite", "code", "data", "dfn", "kbd", "label", "samp", "time", "tt", "var"}
_INLINE = {*_MARKS, *_TERMS, "img", "small", "span", "strong", "sub", "sup", "u", "wbr"}
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_END = object()  # of an element, in the walk


def parse(data: bytes | str) -> Document:
    """The headings and paragraphs of a page, in its own encoding, or of a piece of one."""
    soup = BeautifulSoup(data, "html.parser")
    title = " ".join(soup.title.get_text().split()) if soup.title else ""
    return Document(title, tuple(_blocks(soup)))


def _blocks(soup: BeautifulSoup) -> Iterator[Block]:
    """Runs of text between the borders of block elements."""
    parts: list[str] = []
    level = 0
    for node, closes in _walk(soup):
        if isinstance(node, NavigableString):
            parts.append(_spaced(node))
            continue
        assert isinstance(node, Tag)
        if node.name == "br":
            parts.append("\n")
        elif node.name in ("td", "th"):
            parts.append("" if closes else " | " if "".join(parts).strip() else "")
        elif node.name not in _INLINE:
            if text := _tidied("".join(parts)):
                yield Block(text, level=level)
            parts = []
            level = 0 if closes else _HEADINGS.get(node.name, 0)
    if text := _tidied("".join(parts)):
        yield Block(text)


def _walk(soup: BeautifulSoup) -> Iterator[tuple[PageElement, bool]]:
    """Every visible text, and every element at its beginning and (True) at its end.

    With a stack of its own: pages may be nested deeper than Python calls.
    """
    stack: list[tuple[PageElement, bool]] = [(child, False) for child in reversed(soup.contents)]
    while stack:
        node, closes = stack.pop()
        if isinstance(node, Tag):
            if node.name in _UNSEEN:
                continue
            yield node, closes
            if not closes:
                stack.append((node, True))
                stack += [(child, False) for child in reversed(node.contents)]
        elif not isinstance(node, PreformattedString):
            yield node, False


def _spaced(node: NavigableString) -> str:
    """A text with its white space as a browser shows it: kept in <pre>, else single spaces."""
    if node.find_parent("pre"):
        return str(node)
    text = " ".join(str(node).split())
    if not text:
        return " "
    return f"{' ' * node[0].isspace()}{text}{' ' * node[-1].isspace()}"


def _tidied(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())
