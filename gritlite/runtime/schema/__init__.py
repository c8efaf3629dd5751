"""JSON schemas become GBNF grammars whose every text is JSON that is valid under the schema.

The way: a schema's parts (document.py) are resolved to alternatives (branches.py), which
become shapes (reader.py, objects.py, arrays.py, scalars.py), and those rules (rules.py,
sequences.py, writing.py, gbnf.py). Strings and numbers are finite automata (automaton.py),
so that patterns, lengths, bounds and their opposites can be combined exactly.

Not every valid value can be written: a grammar may allow less than the schema, never more.
"""

from collections.abc import Mapping
from typing import Any

from gritlite.errors import UsageError
from gritlite.runtime.schema.automaton import TooLargeError
from gritlite.runtime.schema.branches import node
from gritlite.runtime.schema.clock import cancelled_by, limited
from gritlite.runtime.schema.document import read
from gritlite.runtime.schema.reader import Reader
from gritlite.runtime.schema.rules import Rules

__all__ = ["cancelled_by", "from_json_schema"]


def from_json_schema(schema: Mapping[str, Any] | bool | str) -> str:
    """Return the GBNF of a JSON schema, given as objects or as JSON text.

    Keywords are read as in JSON Schema 2020-12; `format` and other annotations are ignored,
    as that standard says. Raises UsageError, which names keyword and place, for a schema
    that is not valid, cannot be held, or takes too long, and CancelledError (see clock.py).
    """
    try:
        with limited():
            return Rules(Reader(read(schema)), node(("#", True))).write()
    except RecursionError as error:
        raise UsageError("the JSON schema is too large for a grammar") from error
    except TooLargeError as error:
        raise UsageError(f"the JSON schema is too large for a grammar: {error}") from error
