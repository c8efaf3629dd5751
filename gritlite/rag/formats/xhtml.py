"""XHTML files: HTML in the syntax of XML, which browsers parse as XML.

In XML any element may close itself, and CDATA sections are text; an HTML parser would take
all that follows `<script/>` for a script. Both are rewritten, and the rest is read as HTML.
"""

import html as standard_html
import re

from gritlite.rag.document import Document, ReadingOptions
from gritlite.rag.formats import html

_CLOSED = re.compile(r"""<([a-zA-Z][\w:.-]*)((?:[^<>"'/]|/(?!>)|"[^"]*"|'[^']*')*+)/>""")
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param"}
_VOID |= {"source", "track", "wbr"}


def parse(data: bytes, options: ReadingOptions) -> Document:
    """The headings and paragraphs of a page. Raises FormatError as `html.parse`."""
    decoded = html.decode_page(data, options.encoding)
    text = _CDATA.sub(lambda match: standard_html.escape(match[1]), decoded.text)
    return html.read_page(_CLOSED.sub(_opened, text), decoded.note, options)


def _opened(tag: "re.Match[str]") -> str:
    return tag[0] if tag[1].lower() in _VOID else f"<{tag[1]}{tag[2]}></{tag[1]}>"
