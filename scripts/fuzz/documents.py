"""Fuzz the document readers: damaged text, Markdown, HTML, PDF and DOCX files.

A document is read, or refused with a DocumentError; what is read holds no control characters,
and a document of a few kilobytes does not become a large one.
"""

import io
import random
import zipfile
from functools import cache
from pathlib import Path

from fuzz.counting import Outcome, check_message
from fuzz.mutation import mutate_bytes
from gritlite.errors import DocumentError
from gritlite.rag.document_reader import DocumentReader
from tests.rag import documents

_ALLOWED = {"\t", "\n"}
_MAX_GROWTH = 1 << 20  # characters

_MARKDOWN = """\
# Title

A paragraph with *emphasis*, `code`, [a link](https://example.org "title") and ![an image](x.png).

- one
  - two
    - three

1. first
2. second

> quoted
> > deeper

```python
def function():
    return "text"
```

| head | other |
|------|-------|
| cell | cell  |

<div hidden>inline HTML</div>

## Second &amp; last

Reference [link][1] and a hard\\
break.

[1]: https://example.org
"""
_HTML = """\
<!DOCTYPE html><html><head><meta charset="utf-8"><title>Title</title><style>p {}</style></head>
<body><nav><a href="#">Menu</a></nav><main><h1>Heading<a class="headerlink" href="#x">¶</a></h1>
<p>A <b>paragraph</b> with &amp; entities &#x1F600; and <br> breaks.</p><pre>code
    indented</pre><table><tr><th colspan=2>h</th></tr>
<tr><td>a</td><td rowspan=3>b</td></tr></table>
<ul><li>one<ul><li>two</li></ul></li></ul><p hidden>no</p><script>x()</script>
<!-- comment --></main>
<svg><text>drawing</text></svg><template>t</template><iframe></iframe></body></html>
"""


@cache
def samples() -> dict[str, bytes]:
    """Return a whole document of each format, by suffix."""
    return {
        ".txt": "One line.\n\nAnother paragraph, with ümläuts and 漢字.\n".encode() * 3,
        ".md": _MARKDOWN.encode(),
        ".html": _HTML.encode(),
        ".pdf": documents.pdf(["First page of text.", "Second page, more text."], "A title"),
        ".docx": documents.word("A title"),
    }


@cache
def reader() -> DocumentReader:
    """Return the one reader of this process; its child is restarted after a crash."""
    return DocumentReader(timeout=20)


def case(random: random.Random) -> Outcome:
    """Damage a document and read it."""
    suffix = random.choice(list(samples()))
    other = samples()[random.choice(list(samples()))]
    data = samples()[suffix]
    if suffix == ".docx" and random.random() < 0.8:
        data = _damaged_member(random, data)
    else:
        data = mutate_bytes(random, data, other)
    if random.random() < 0.05:
        suffix = random.choice(list(samples()))
    try:
        document = reader().read(data, Path(f"document{suffix}"))
    except DocumentError as error:
        check_message(error)
        return "refused"
    for text in (document.title, *(block.text for block in document.blocks)):
        strange = {c for c in text if ord(c) < 32 or 127 <= ord(c) < 160} - _ALLOWED
        assert not strange, strange
        text.encode()
    assert sum(len(block.text) for block in document.blocks) < _MAX_GROWTH
    return "right"


def _damaged_member(random: random.Random, data: bytes) -> bytes:
    """Return a DOCX file of which one part is damaged, but the archive is whole."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w") as new:
        chosen = random.choice(["word/document.xml", *old.namelist()])
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, mutate_bytes(random, part) if name == chosen else part)
    return target.getvalue()
