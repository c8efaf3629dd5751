"""The process that reads documents: `python -m gritlite.rag.reader_child`.

A damaged or malicious file may crash, hang or inflate the library that reads
it. Here that hurts nobody: memory is limited, and the parent limits the time.
For each request on standard input, a JSON line {"suffix", "size"} and so many
bytes, a JSON line goes to standard output:

    {"title": TEXT, "blocks": [[TEXT, PLACE, LEVEL], ...], "warning": TEXT}
    {"error": MESSAGE}
"""

import contextlib
import dataclasses
import json
import os
import sys
from typing import Any, BinaryIO

from gritlite.rag.formats import parse

_MOST_MEMORY = 2 << 30
_MOST_TEXT = 64 << 20  # characters of one document


def main() -> None:
    """Answer requests until there are no more."""
    _limit_memory()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    requests: BinaryIO = sys.stdin.buffer
    while line := requests.readline():
        request = json.loads(line)
        data = requests.read(request["size"])
        answers.write(json.dumps(_answer(data, request["suffix"])).encode() + b"\n")
        answers.flush()


def _answer(data: bytes, suffix: str) -> dict[str, Any]:
    try:
        document = parse(data, suffix)
    except MemoryError:
        return {"error": f"needs more than {_MOST_MEMORY >> 30} GiB to read"}
    except Exception as error:  # the libraries raise whatever they like at damaged files
        return {"error": str(error) or f"cannot be read: {type(error).__name__}"}
    if sum(len(block.text) for block in document.blocks) > _MOST_TEXT:
        return {"error": f"holds more than {_MOST_TEXT >> 20} million characters"}
    return {
        "title": document.title,
        "blocks": [dataclasses.astuple(block) for block in document.blocks],
        "warning": document.warning,
    }


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))


if __name__ == "__main__":
    main()
