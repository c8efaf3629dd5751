"""The options of one answer, where a program has fields for the model's and gives some a call."""

from collections.abc import Mapping
from typing import Any

from gritlite.runtime.options import ChatOptions


def chosen_options(model: object, given: Mapping[str, Any]) -> ChatOptions:
    """Return the options of a call, with fields of `model` of the same name for those left out.

    A field that is None is left out. Options that gritlite does not know are kept: `GritLM.chat`
    raises UsageError for them.
    """
    fields = {name: getattr(model, name, None) for name in ChatOptions.__optional_keys__}
    options = {name: value for name, value in fields.items() if value is not None}
    return ChatOptions(**{**options, **given})  # type: ignore[typeddict-item]
