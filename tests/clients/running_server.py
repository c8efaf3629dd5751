"""`gritlite serve` as other programs start it: a process of its own, found by its line of JSON."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAME = "tiny"


@dataclass(frozen=True)
class Server:
    """Where a server listens, and the key that it asks for."""

    url: str
    key: str

    @property
    def openai(self) -> str:
        """The address that clients of OpenAI's interface are given."""
        return f"{self.url}/v1"


@contextlib.contextmanager
def gritlite_serve(model: Path, *options: str) -> Iterator[Server]:
    """Serve a model file until the block ends, which ends the process's standard input."""
    command = [sys.executable, "-m", "gritlite", "serve", str(model), "--name", NAME]
    command += ["--port", "0", "--ready-json", "--end-with-input", "--threads", "1", *options]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "GRITLITE_ENGINE": "llama"},
    ) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield Server(ready["url"], ready["key"])
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
