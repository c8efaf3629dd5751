"""JSON schemas as grammars, by llama.cpp's own converter."""

import json
from collections.abc import Mapping
from typing import Any

from gritlite.errors import UsageError


def from_json_schema(schema: Mapping[str, Any] | str) -> str:
    """GBNF that admits exactly the JSON a schema admits.

    Raises UsageError for a schema that is not JSON or uses what the converter
    does not know.
    """
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    text = schema if isinstance(schema, str) else json.dumps(schema)
    try:
        if not isinstance(json.loads(text), dict):
            raise UsageError("the JSON schema is not an object")
        return str(json_schema_to_gbnf(text))
    except UsageError:
        raise
    except Exception as error:  # the converter raises whatever its traversal meets
        raise UsageError(f"the JSON schema cannot become a grammar: {error!r}") from error
