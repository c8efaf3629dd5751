"""Texts of requests, of which OpenAI's interface lets clients send token ids as well."""

from collections.abc import Sequence

from gritlite.serve.errors import invalid

Given = str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]


def only_texts(given: Given, field: str, remedy: str = "send texts") -> list[str]:
    """The texts of a field. Raises ApiError for token ids, which would become other words."""
    items = [given] if isinstance(given, str) else given
    texts = [item for item in items if isinstance(item, str)]
    if len(texts) < len(items):
        raise invalid(
            f"{field} has token ids, which would be of another model's vocabulary: {remedy}",
            field,
            code="token_ids_not_supported",
        )
    return texts
