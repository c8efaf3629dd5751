"""The optional packages that retrieval needs."""

from importlib.util import find_spec

from gritlite.errors import MissingExtraError


def require_rag(purpose: str) -> None:
    """Raise MissingExtraError unless the packages of the extra `rag` are installed."""
    for module, package in {
        "chardet": "chardet",
        "docx": "python-docx",
        "filelock": "filelock",
        "markdown_it": "markdown-it-py",
        "pypdfium2": "pypdfium2",
        "selectolax": "selectolax",
        "semantic_text_splitter": "semantic-text-splitter",
        "usearch": "usearch",
        "xxhash": "xxhash",
    }.items():
        if find_spec(module) is None:
            raise MissingExtraError(package, "rag", purpose)


def require_main_text() -> None:
    """Raise MissingExtraError unless the package of the extra `web` is installed."""
    if find_spec("trafilatura") is None:
        raise MissingExtraError("trafilatura", "web", "reading the main text of web pages")
