"""Errors about one of many texts, with its place instead of its number."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gritlite.errors import InputError, NotFiniteError


@contextmanager
def located_errors(place: Callable[[int], str]) -> Iterator[None]:
    """Replace the number of a text in errors by `place` of it, counted from 0."""
    try:
        yield
    except InputError as error:
        if error.index is None:
            raise
        raise type(error)(f"{place(error.index)}: {error.problem}") from error
    except NotFiniteError as error:
        if error.index is None:
            raise
        raise NotFiniteError(f"the vector of {place(error.index)}") from error
