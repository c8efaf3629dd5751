"""The process that reads documents: `python -m gritlite.rag.reader_child`.

A damaged or malicious file may crash a library, hang it, or make it use all memory. Here
that does no harm: this process limits its memory, and the parent limits the time. A request
on standard input is a JSON line {"suffix", "size"} with the fields of `ReadingOptions`, and
`size` bytes; the response on standard output is a JSON line:

    {"title": TEXT, "blocks": [[TEXT, PLACE, LEVEL], ...], "notes": [TEXT, ...]}
    {"error": MESSAGE}
"""

import contextlib
import dataclasses
import json
import os
import sys
from typing import Any, BinaryIO

from gritlite.rag.document import ReadingOptions
from gritlite.rag.formats import parse
from gritlite.system.processes import end_with_parent
from gritlite.system.wording import printable

_MAX_MEMORY = 2 << 30
_MAX_DEPTH = 100_000  # calls: Markdown's parser recurses into lists and quotes
_MAX_TEXT = 64 << 20  # characters of one document


def main() -> None:
    """Answer requests until standard input ends."""
    end_with_parent()
    _limit_memory()
    sys.setrecursionlimit(_MAX_DEPTH)
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with responses
    requests: BinaryIO = sys.stdin.buffer
    while line := requests.readline():
        request = json.loads(line)
        suffix, data = request.pop("suffix"), requests.read(request.pop("size"))
        response = _respond(data, suffix, ReadingOptions(**request))
        responses.write(json.dumps(response).encode() + b"\n")
        responses.flush()


def _respond(data: bytes, suffix: str, options: ReadingOptions) -> dict[str, Any]:
    try:
        document = parse(data, suffix, options)
    except MemoryError:
        return {"error": f"needs more than {_MAX_MEMORY >> 30} GiB to read"}
    except Exception as error:  # the libraries raise anything for damaged files
        return {"error": _one_line(str(error)) or f"cannot be read: {type(error).__name__}"}
    if sum(len(block.text) for block in document.blocks) > _MAX_TEXT:
        return {"error": f"has more than {_MAX_TEXT >> 20} million characters"}
    return {
        "title": document.title,
        "blocks": [dataclasses.astuple(block) for block in document.blocks],
        "notes": document.notes,
    }


def _one_line(message: str) -> str:
    """Return a library's message, which may quote the file, as one line that can be printed."""
    return printable(" ".join(message.split()))


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))


if __name__ == "__main__":
    main()
