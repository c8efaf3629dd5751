"""The main text of a web page, by trafilatura: without navigation, headers and footers.

trafilatura decides by the names of elements and the density of links, so it may leave out
text, and keep some navigation. How many words it left out is told with the document.
"""

import re
from collections.abc import Sequence
from configparser import ConfigParser

import trafilatura
from trafilatura.settings import use_config

from gritlite.rag.document import Block
from gritlite.rag.formats import html

_LINE_OF_CODE = re.compile(r"<pre>([^\n<]*)</pre>")  # trafilatura writes so in paragraphs too


def main_text(page: str, whole: Sequence[Block]) -> tuple[list[Block], str]:
    """The blocks of the main text, and a note; `whole` are the blocks of the whole page."""
    found = trafilatura.extract(
        page,
        output_format="html",
        include_comments=False,
        include_formatting=True,
        include_tables=True,
        favor_recall=True,
        config=_configuration(),
    )
    blocks = html.Page.read(_LINE_OF_CODE.sub(r"<code>\1</code>", found or "")).blocks
    if not blocks:
        return list(whole), "no main text was found: the whole page was read"
    left_out = max(_words(whole) - _words(blocks), 0)
    return blocks, f"only its main text was read: {left_out:,} words were left out"


def _configuration() -> ConfigParser:
    """trafilatura takes all text of a page as one paragraph where the main text is short."""
    configuration = use_config()
    for name in ("MIN_EXTRACTED_SIZE", "MIN_OUTPUT_SIZE"):
        configuration.set("DEFAULT", name, "0")
    return configuration


def _words(blocks: Sequence[Block]) -> int:
    return sum(len(block.text.split()) for block in blocks)
