"""The generation options of a chat session, shown and changed while it runs.

The runtime checks the values. The module knows no terminal.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from gritlite.errors import UsageError

DEFAULT = "default"  # the word that resets an option


def _texts(value: str) -> tuple[str, ...]:
    return tuple(shlex.split(value))


_NUMBER: tuple[Callable[[str], Any], str] = (float, "a number")
_WHOLE: tuple[Callable[[str], Any], str] = (int, "a whole number")
_PARSERS = {  # and what they want
    "temperature": _NUMBER,
    "top_k": _WHOLE,
    "top_p": _NUMBER,
    "min_p": _NUMBER,
    "repeat_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "presence_penalty": _NUMBER,
    "seed": _WHOLE,
    "max_tokens": _WHOLE,
    "stop": (_texts, "texts, in quotes if they have spaces"),
}
NAMES = tuple(_PARSERS)


class Settings:
    """Changes `options`, the ones that answers are generated with.

    `defaults` are those that differ from the runtime's.
    """

    def __init__(self, options: MutableMapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._options = options
        self._defaults = defaults

    @property
    def is_greedy(self) -> bool:
        """Whether an answer is the same each time."""
        return bool(self._value("temperature") == 0)

    def set(self, name: str, value: str) -> None:
        """Set an option to the value in a text; "default" resets it.

        Raises UsageError for an unknown option or a value that it cannot have.
        """
        from gritlite.runtime.options import generate_options

        name = name.replace("-", "_")
        if name not in _PARSERS:
            raise UsageError(f"there is no option {name}: expected one of {', '.join(NAMES)}")
        if value == DEFAULT:
            self._options.pop(name, None)
            return
        parser, wanted = _PARSERS[name]
        try:
            parsed = parser(value)
        except ValueError as error:
            raise UsageError(f"{value!r} is no value of {name}: write {wanted}") from error
        generate_options(**{name: parsed})
        self._options[name] = parsed

    def rows(self) -> Iterator[tuple[str, str]]:
        """The options and their values."""
        for name in NAMES:
            default = "" if name in self._options else " (default)"
            yield name, _shown(name, self._value(name)) + default

    def _value(self, name: str) -> Any:
        if name in self._options:
            return self._options[name]
        return self._defaults.get(name, _runtime_default(name))


def _runtime_default(name: str) -> Any:
    from gritlite.runtime.options import generate_options

    if name == "seed":  # a new one for each answer
        return None
    options = generate_options()
    return getattr(options, name, getattr(options.sampling, name, None))


def _shown(name: str, value: Any) -> str:
    if name == "seed" and value is None:
        return "random"
    if name == "max_tokens" and value is None:
        return "as many as the context holds"
    if name == "stop":
        return shlex.join([value] if isinstance(value, str) else value) or "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
