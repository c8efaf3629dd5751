"""Fields whose caller would be misled if they were ignored: OpenAI's, and a store's `where`.

Others that are not listed in a request's model change no answer; docs/serve.md names them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, Field

from gritlite.serve.errors import invalid
from gritlite.serve.lists import Items

# values that ask for nothing, by the field's name, and why others are refused
_REASONS: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "modalities": (([], ["text"]), "this model writes texts only"),
    "audio": ((), "this model does not speak"),
    "web_search_options": ((), "nothing is searched in the web here"),
    "moderation": ((), "nothing is moderated here"),
    "reasoning_effort": (("none",), "this model does not reason before it answers"),
    "reasoning.effort": (("none",), "this model does not reason before it answers"),
    "where": ((), "/v1/ask takes it, chats do not"),
    "verbosity": (("medium",), "say in a message how long the answer should be"),
    "text.verbosity": (("medium",), "say in a message how long the answer should be"),
}


class RefusedFields(BaseModel):
    """Those of chats."""

    modalities: Items[str] | None = Field(None, description='["text"] or null.')
    audio: Any = Field(None, description="null: the model does not speak.")
    web_search_options: Any = Field(None, description="null: nothing is searched in the web.")
    moderation: Any = Field(None, description="null: nothing is moderated.")
    reasoning_effort: str | None = Field(None, description="none or null.")
    verbosity: str | None = Field(None, description="medium or null.")
    where: Any = Field(None, description="null: `/v1/ask` answers from some documents only.")

    def given(self) -> Iterable[tuple[str, Any]]:
        """The fields by name, and their values."""
        return ((name, getattr(self, name)) for name in RefusedFields.model_fields)


def check_refused(given: Iterable[tuple[str, Any]]) -> None:
    """Raise ApiError for the first of the fields that asks for something."""
    for name, value in given:
        harmless, reason = _REASONS[name]
        if value is not None and value not in harmless:
            raise invalid(f"{name} is not supported: {reason}", name, "unsupported")
