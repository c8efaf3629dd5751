"""The optional packages that retrieval needs."""

from importlib.util import find_spec

from gritlite.errors import MissingExtraError


def require_rag(purpose: str) -> None:
    """Raise MissingExtraError unless the packages of the extra `rag` are installed."""
    for module, package in {
        "bs4": "beautifulsoup4",
        "docx": "python-docx",
        "filelock": "filelock",
        "markdown_it": "markdown-it-py",
        "pypdfium2": "pypdfium2",
        "semantic_text_splitter": "semantic-text-splitter",
        "usearch": "usearch",
        "xxhash": "xxhash",
    }.items():
        if find_spec(module) is None:
            raise MissingExtraError(package, "rag", purpose)
