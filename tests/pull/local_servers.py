"""Two small servers: one speaks the Hugging Face hub's API, one the simple index of PEP 503.

Both can break off in the middle of a body and serve wrong bytes, and both keep
a record of the requests.
"""

import hashlib
import json
import threading
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Faults:
    """What goes wrong: a list of lengths after which a body breaks off, and wrong bodies."""

    breaks: dict[str, list[int]] = field(default_factory=dict)
    wrong: dict[str, bytes] = field(default_factory=dict)
    stall: threading.Event | None = None
    etag: str | None = None  # instead of every digest in a header


class LocalServer:
    """A server in a thread, for the length of a with-block."""

    handler: type["Handler"]

    def __init__(self):
        self.faults = Faults()
        self.requests: list[tuple[str, str, str | None]] = []

    def __enter__(self):
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self._http.owner = self
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        if self.faults.stall:
            self.faults.stall.set()
        self._http.shutdown()
        self._http.server_close()

    def gets(self, end: str) -> list[str | None]:
        """The Range headers of the GET requests for paths that end so."""
        return [
            range for verb, path, range in self.requests if verb == "GET" and path.endswith(end)
        ]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._handle()

    def do_GET(self):
        self._handle()

    def _handle(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.server.owner.requests.append((self.command, path, self.headers.get("Range")))
        self.answer(path)

    def body(self, name: str, data: bytes, headers: dict[str, str]) -> None:
        """Send a file, or the asked part of it, with the faults set for its name."""
        faults = self.server.owner.faults
        data = faults.wrong.get(name, data)
        start = 0
        if self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
            headers = {**headers, "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        rest = data[start:]
        self.send_response(206 if self.headers.get("Range") else 200)
        for key, value in {**headers, "Content-Length": str(len(rest))}.items():
            is_digest = key.lower().endswith("etag") and faults.etag is not None
            self.send_header(key, f'"{faults.etag}"' if is_digest else value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cuts = faults.breaks.get(name, [])
        self.wfile.write(rest[: cuts[0]] if cuts else rest)
        self.wfile.flush()
        if cuts:
            cuts.pop(0)
            self.close_connection = True
            if faults.stall:
                faults.stall.wait(60)

    def status(self, code: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        etag = self.server.owner.faults.etag
        for key, value in {**(headers or {}), "Content-Length": "0"}.items():
            is_digest = key.lower().endswith("etag") and etag is not None
            self.send_header(key, f'"{etag}"' if is_digest else value)
        self.end_headers()


class HubHandler(Handler):
    def answer(self, path: str) -> None:
        hub = self.server.owner
        for repository, code in hub.refusals.items():
            if repository in path:
                errors = {401: "GatedRepo", 404: "RepoNotFound"}
                return self.status(code, {"X-Error-Code": errors[code]})
        if path.startswith("/api/models/"):
            return self._info(path.removeprefix("/api/models/"))
        if path.startswith("/large/"):
            name = path.removeprefix("/large/")
            return self.body(name, hub.files[name], {"ETag": f'"{sha256(hub.files[name])}"'})
        _, _, name = path.partition(f"/resolve/{COMMIT}/")
        if name not in hub.files:
            return self.status(404, {"X-Error-Code": "EntryNotFound"})
        data, headers = hub.files[name], {"X-Repo-Commit": COMMIT}
        if name not in hub.large:
            return self.body(name, data, {**headers, "ETag": f'"{git_id(data)}"'})
        headers |= {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data))}
        # like the hub's own, the store of large files goes by another host name
        store = hub.url.replace("127.0.0.1", "localhost")
        return self.status(302, {**headers, "Location": f"{store}/large/{name}"})

    def _info(self, rest: str) -> None:
        hub = self.server.owner
        _, _, revision = rest.partition("/revision/")
        if revision not in ("", "main", COMMIT):
            return self.status(404, {"X-Error-Code": "RevisionNotFound"})
        siblings = [
            {"rfilename": name, "size": len(data), "blobId": git_id(data)}
            | ({"lfs": _large(data)} if name in hub.large else {})
            for name, data in hub.files.items()
        ]
        info = {"id": hub.repository, "sha": COMMIT, "siblings": siblings, **hub.lies}
        if hub.nonsense is not None:
            info = hub.nonsense
        if isinstance(info, bytes):
            return self.body("", info, {"Content-Type": "application/json"})
        return self.body("", json.dumps(info).encode(), {"Content-Type": "application/json"})


def _large(data: bytes) -> dict:
    return {"sha256": sha256(data), "size": len(data), "pointerSize": 134}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()


class Hub(LocalServer):
    """One repository of the hub; files in `large` are kept as the hub keeps LFS files."""

    handler = HubHandler

    def __init__(self, repository: str, files: dict[str, bytes], large: set[str]):
        super().__init__()
        self.repository, self.files, self.large = repository, files, large
        self.refusals: dict[str, int] = {}
        self.lies: dict[str, object] = {}  # fields of the answer about the repository
        self.nonsense: object = None  # instead of that answer


class IndexHandler(Handler):
    def answer(self, path: str) -> None:
        index = self.server.owner
        if path.startswith("/simple/"):
            link = f'<a href="/files/{index.file}">{index.file}</a>'
            page = f"<!DOCTYPE html><html><body>{link}</body></html>".encode()
            return self.body("", page, {"Content-Type": "text/html"})
        return self.body(index.file, index.data, {"Content-Type": "application/octet-stream"})


class Index(LocalServer):
    """A package index with one file."""

    handler = IndexHandler

    def __init__(self, file: str, data: bytes):
        super().__init__()
        self.file, self.data = file, data
