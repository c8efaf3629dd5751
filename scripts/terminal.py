"""Run the README's commands in a terminal and draw its screen: docs/terminal.svg.

    python scripts/terminal.py

The commands really run, in a scratch folder beside a copy of examples/, with the default
model (`gritlite pull` fetches it). rich turns their output, colours included, into an SVG.
"""

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "terminal.svg"
COLUMNS, ROWS = 90, 40

COMMANDS = [
    "gritlite index examples/notes --store notes.grit",
    'gritlite search "how do I get to the island?" --store notes.grit -k 1',
    'gritlite ask "who founded the inn?" --store notes.grit',
    'gritlite chat --prompt "In one sentence: why do leaves look green?" --temperature 0',
]


def run(command: str, folder: Path) -> str:
    """What a shell command writes to a terminal of COLUMNS x ROWS; raises CalledProcessError."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TERM": "xterm-256color"}
    with subprocess.Popen(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        written = b"".join(iter(lambda: _read(ours), b""))
        os.close(ours)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, written.decode())
    return written.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


def draw(screens: list[tuple[str, str]]) -> str:
    """An SVG of commands and their output, each line as it stood in the end."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False
    )
    for command, output in screens:
        console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        # Text.from_ansi keeps what follows a line's last carriage return: a finished bar is gone
        console.print(Text.from_ansi(output.strip("\n")))
        console.print()
    svg = console.export_svg(title="gritlite", unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # no fonts from the web


def main() -> None:
    """Run the commands and write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "examples", Path(folder) / "examples")
        screens = [(command, run(command, Path(folder))) for command in COMMANDS]
    PICTURE.write_text(draw(screens), encoding="utf-8")


if __name__ == "__main__":
    main()
