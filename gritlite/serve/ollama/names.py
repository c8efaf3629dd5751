"""The model's names as Ollama's clients write them, with a tag or without."""

from gritlite.serve.errors import ApiError
from gritlite.serve.names import LATEST, Names, Target


def target_of(names: Names, asked: str | None) -> Target:
    """What a name asks for. Raises ApiError in Ollama's words, which its clients look for."""
    try:
        return names.find(asked)
    except ApiError as error:
        problem = f"model '{asked}' not found: expected one of {', '.join(names.all())}"
        raise ApiError(404, problem, code=error.code, param=error.param) from None


def tagged(name: str) -> str:
    """A name with a tag, as lists of models have it."""
    return name if ":" in name else name + LATEST
