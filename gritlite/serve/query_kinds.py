"""What texts are embedded for, as several vendors' clients say it, in a GRIT model's own words.

A GRIT model embeds a query behind an instruction and a document without one.
"""

from collections.abc import Mapping

from gritlite.serve.errors import invalid
from gritlite.serve.names import Target
from gritlite.serve.settings import Settings

_DOCUMENT = ""
# of Cohere's input_type and sentence-transformers' prompt_name; None: the settings' own words
_INSTRUCTIONS: Mapping[str, str | None] = {
    "query": None,
    "search_query": None,
    "document": _DOCUMENT,
    "passage": _DOCUMENT,
    "search_document": _DOCUMENT,
    "classification": "Classify the text",
    "clustering": "Identify the topic of the text",
}


def instruction_for(
    target: Target,
    settings: Settings,
    *,
    instruction: str | None = None,
    prompt_name: str | None = None,
    input_type: str | None = None,
) -> str:
    """The plain words behind which texts are embedded; empty for documents.

    A field of the request goes before the model's name. Raises ApiError for an unknown kind, and
    for several fields: each says it alone.
    """
    fields = {"instruction": instruction, "prompt_name": prompt_name, "input_type": input_type}
    given = {field: value for field, value in fields.items() if value is not None}
    if len(given) > 1:
        problem = f"{' and '.join(given)} each say what the texts are for: give one of them"
        raise invalid(problem, list(given)[-1])
    if not given:
        return settings.query_instruction if target.is_query else _DOCUMENT
    if instruction is not None:
        return instruction
    ((field, kind),) = given.items()
    if kind not in _INSTRUCTIONS:
        raise invalid(f"{field} is {kind!r}: expected one of {', '.join(_INSTRUCTIONS)}", field)
    words = _INSTRUCTIONS[kind]
    return settings.query_instruction if words is None else words
