"""The loaded model of a chat session, which can be exchanged for another one."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gritlite.cli.commands.chat_respondents import Respondent

if TYPE_CHECKING:
    from gritlite.runtime.model import GritLM

Load = Callable[[str], AbstractContextManager["GritLM"]]
Respond = Callable[["GritLM"], AbstractContextManager[Respondent]]


class ChatModel:
    """A model, by its name, and what answers with it. Use it as a context manager.

    `load` opens a model by name, and `respond` what answers with a model. Raises what they
    raise.
    """

    def __init__(self, name: str, load: Load, respond: Respond) -> None:
        self._load = load
        self._respond = respond
        self._open(name)

    def _open(self, name: str) -> None:
        with ExitStack() as stack:
            self.model = stack.enter_context(self._load(name))
            self.respondent = stack.enter_context(self._respond(self.model))
            self.name = name
            self._opened = stack.pop_all()

    @property
    def title(self) -> str:
        """What the user should know about the model."""
        name = Path(self.name).name if Path(self.name).exists() else self.name
        return f"{name}, {self.model.context_length:,} tokens of context"

    def exchange(self, name: str) -> None:
        """Load another model in place of this one, which is loaded again if that fails.

        Raises what loading raises.
        """
        from gritlite.modelfile.check import check_model
        from gritlite.modelfile.header import read_header
        from gritlite.system.locate import locate

        check_model(read_header(locate(name)))  # most mistakes are found before this one is closed
        before = self.name
        self._opened.close()  # two models may not fit into the memory
        try:
            self._open(name)
        except BaseException:
            self._open(before)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
