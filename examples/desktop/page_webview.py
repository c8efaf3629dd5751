"""The server's page in a window of its own: pywebview, and `gritlite serve` as a child.

Usage: python page_webview.py [MODEL] [--store NOTES.grit] [...]

Takes what `gritlite serve` takes. The server picks a free port and makes up a key, which no other
program has, and says both in one line. It ends with its input, so also when this program is killed.
"""

import json
import subprocess
import sys
from urllib.parse import quote

import webview

SERVE = [sys.executable, "-m", "gritlite", "serve"]
HOW = ["--port", "0", "--ready-json", "--end-with-input"]
LOADING = "<body style='font: 15px sans-serif; margin: 3em'>The model is loading …"
FAILED = "<body style='font: 15px sans-serif; margin: 3em'>The server has ended."


def main() -> None:
    """Start the server, show its page, and end it with the window."""
    server = subprocess.Popen(
        [*SERVE, *sys.argv[1:], *HOW], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    window = webview.create_window("gritlite", html=LOADING, width=1000, height=720)
    webview.start(show_page, (window, server))
    assert server.stdin is not None
    server.stdin.close()
    server.wait()


def show_page(window: webview.Window, server: "subprocess.Popen[bytes]") -> None:
    """In a thread of pywebview's: go to the page once the model is loaded."""
    assert server.stdout is not None
    line = server.stdout.readline()
    window.events.loaded.wait(10)  # else the first page may come after the next one
    if line:
        ready = json.loads(line)
        # browsers send nobody what is behind "#"; the page keeps the key in the tab
        window.load_url(f"{ready['url']}/#key={quote(ready['key'])}")
    elif not window.events.closed.is_set():
        window.load_html(FAILED)  # standard error says why


if __name__ == "__main__":
    main()
