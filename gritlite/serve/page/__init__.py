"""The page for people at `/`: files of this package, and nothing from any other address."""

from importlib.resources import files
from pathlib import PurePath

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def _read() -> dict[str, tuple[bytes, str]]:
    """The files and their types by name, so that no name of a request is ever opened."""
    found: dict[str, tuple[bytes, str]] = {}
    for file in files(__name__).iterdir():
        kind = _TYPES.get(PurePath(file.name).suffix)
        if kind is not None:
            found[file.name] = (file.read_bytes(), kind)
    return found


_FILES = _read()


@router.get("/")
async def page() -> Response:
    """The page."""
    return _answer("index.html")


@router.get("/favicon.ico")
async def icon() -> Response:
    """The page's icon, for browsers that ask by themselves."""
    return _answer("icon.svg")


@router.get("/page/{name}")
async def part(name: str) -> Response:
    """A file of the page; 404 for any other."""
    if name not in _FILES:
        raise HTTPException(404)
    return _answer(name)


def _answer(name: str) -> Response:
    content, kind = _FILES[name]
    return Response(content, headers={**HEADERS, "Content-Type": kind})
