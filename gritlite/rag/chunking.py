"""Documents are cut into chunks: at headings always, then at paragraphs and sentences.

semantic-text-splitter finds the borders: it fills a chunk with whole paragraphs
while they fit the budget of tokens, then with sentences, then with words. A
chunk is embedded behind its title and headings, which its text may never name.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gritlite.rag.document import Block, Document

_LONGEST_HEADING = 200  # characters; a longer one is a paragraph in a heading's clothes
_HEADING_SHARE = 3  # a heading of more than this part of the budget is not repeated
_BETWEEN = "\n\n"


@dataclass(frozen=True)
class Chunk:
    """A piece of a document.

    `heading` is the path to it, from the document's title ("Guide > Setup"),
    `place` where in the file it begins, and `embedded` what is embedded: the
    text behind the heading.
    """

    text: str
    heading: str
    place: str
    embedded: str


def cut(document: Document, count_tokens: Callable[[str], int], budget: int) -> Iterator[Chunk]:
    """The chunks of a document in reading order; `embedded` has about `budget` tokens at most.

    "About", since tokens may merge or part where texts are joined.
    """
    from semantic_text_splitter import TextSplitter

    for heading, blocks in _sections(document):
        carried = heading + "\n"
        if count_tokens(carried) > budget // _HEADING_SHARE:
            carried = ""
        splitter = TextSplitter.from_callback(count_tokens, budget - count_tokens(carried))
        starts, text = _joined(blocks)
        for offset, piece in splitter.chunk_indices(text):
            if count_tokens(piece):
                place = blocks[bisect_right(starts, offset) - 1].place
                yield Chunk(piece, heading, place, carried + piece)


def _sections(document: Document) -> Iterator[tuple[str, list[Block]]]:
    """The paragraphs under each heading, with the path of headings."""
    path: list[Block] = []
    blocks: list[Block] = []
    for block in document.blocks:
        if not block.level or len(block.text) > _LONGEST_HEADING:
            blocks.append(block)
            continue
        if blocks:
            yield _path(document.title, path), blocks
            blocks = []
        path = [*(above for above in path if above.level < block.level), block]
    if blocks:
        yield _path(document.title, path), blocks


def _path(title: str, headings: Sequence[Block]) -> str:
    """The title and headings as a line; a first heading that is the title is not said twice."""
    names = [" ".join(heading.text.split()) for heading in headings]
    title = " ".join(title.split())
    return " > ".join(names if names[:1] == [title] else [title, *names])


def _joined(blocks: Sequence[Block]) -> tuple[list[int], str]:
    """The text of some paragraphs, and at which character each begins."""
    starts: list[int] = []
    length = 0
    for block in blocks:
        starts.append(length)
        length += len(block.text) + len(_BETWEEN)
    return starts, _BETWEEN.join(block.text for block in blocks)
