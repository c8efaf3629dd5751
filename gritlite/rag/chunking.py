"""Cuts documents into chunks: at every heading, then between paragraphs and sentences.

semantic-text-splitter finds the boundaries: it fills a chunk with whole paragraphs while
they fit, then with sentences, then with words. Lines keep their indentation, since in code
it means something. A chunk is embedded after its title and
headings, since its text may never name them.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gritlite.rag.document import Block, Document

_MAX_HEADING = 200  # characters; a longer heading is a paragraph in a heading style
_HEADING_SHARE = 3  # a heading of more than 1/3 of the budget is not embedded
_SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Chunk:
    """A piece of a document.

    `heading` is the path of headings from the document's title ("Guide > Setup"), `place`
    where in the file the chunk begins, and `embedded` the text that is embedded: heading and
    text.
    """

    text: str
    heading: str
    place: str
    embedded: str


def cut(document: Document, count_tokens: Callable[[str], int], budget: int) -> Iterator[Chunk]:
    """Cut a document into chunks, in reading order, of at most about `budget` embedded tokens.

    "About", since the tokens at the ends of texts may change when the texts are joined.
    """
    from semantic_text_splitter import TextSplitter

    for heading, blocks in _sections(document):
        prefix = f"{heading}\n" if heading else ""
        if count_tokens(prefix) > budget // _HEADING_SHARE:
            prefix = ""
        splitter = TextSplitter.from_callback(count_tokens, budget - count_tokens(prefix))
        starts, text = _joined(blocks)
        for offset, piece in splitter.chunk_indices(text):
            if count_tokens(piece):
                place = blocks[bisect_right(starts, offset) - 1].place
                piece = text[_indented(text, offset) : offset] + piece
                yield Chunk(piece, heading, place, prefix + piece)


def _indented(text: str, offset: int) -> int:
    """Where the indentation before an offset begins; the offset itself inside a line."""
    start = offset
    while start and text[start - 1] in " \t":
        start -= 1
    return start if start == 0 or text[start - 1] == "\n" else offset


def _sections(document: Document) -> Iterator[tuple[str, list[Block]]]:
    """The paragraphs under each heading, with the path of headings.

    A heading with nothing under it, not even a deeper heading, is a section's only text.
    """
    path: list[Block] = []
    blocks: list[Block] = []
    for block in (*document.blocks, None):
        if block is not None and (not block.level or len(block.text) > _MAX_HEADING):
            blocks.append(block)
            continue
        if blocks:
            yield _path(document.title, path), blocks
        elif path and (block is None or block.level <= path[-1].level):
            yield _path(document.title, path[:-1]), path[-1:]
        blocks = []
        if block is not None:
            path = [*(above for above in path if above.level < block.level), block]


def _path(title: str, headings: Sequence[Block]) -> str:
    """The title and headings in one line; a first heading that is the title appears once."""
    names = [" ".join(heading.text.split()) for heading in headings]
    title = " ".join(title.split())
    return " > ".join(names if not title or names[:1] == [title] else [title, *names])


def _joined(blocks: Sequence[Block]) -> tuple[list[int], str]:
    """The text of some paragraphs, and the character offset of each."""
    starts: list[int] = []
    length = 0
    for block in blocks:
        starts.append(length)
        length += len(block.text) + len(_SEPARATOR)
    return starts, _SEPARATOR.join(block.text for block in blocks)
