"""The names that clients call the model by, and what each asks for.

`NAME` is the model; `NAME:query` the same whose texts to embed are queries, for clients that
can say so in no other way; `NAME+STORE` the model that answers from a store's passages.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gritlite.serve.errors import ApiError

QUERY = ":query"
LATEST = ":latest"  # what Ollama's clients add


@dataclass(frozen=True)
class Target:
    """What a model's name asks for. `store` None: no store."""

    is_query: bool = False
    store: str | None = None


class Names:
    """The names of one model and its stores."""

    def __init__(self, name: str, stores: Iterable[str] = ()) -> None:
        self.name = name
        self._targets = {name: Target(), name + QUERY: Target(is_query=True)}
        self._targets |= {f"{name}+{store}": Target(store=store) for store in stores}

    def all(self) -> list[str]:
        """All names, the model's own first."""
        return list(self._targets)

    def find(self, asked: str | None) -> Target:
        """What a name asks for; without one the model itself. Raises ApiError."""
        target = self._targets.get((asked or self.name).removesuffix(LATEST))
        if target is None and asked in self._targets:  # a file whose own name ends so
            target = self._targets[asked]
        if target is None:
            message = f"there is no model {asked!r}: expected one of {', '.join(self.all())}"
            raise ApiError(404, message, code="model_not_found", param="model")
        return target
