"""A streamed answer of an isolated model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gritlite.runtime.isolation.calls import Call
from gritlite.runtime.log_probabilities import TokenLogProbability
from gritlite.runtime.pieces import Pieces
from gritlite.runtime.state import State
from gritlite.system.progress import ProgressCallback
from gritlite.system.wording import counted

if TYPE_CHECKING:
    from gritlite.runtime.isolation.model import IsolatedGritLM


class IsolatedAnswer(Pieces):
    """A streamed answer, with the attributes and methods of `Answer`.

    Iterating raises ModelProcessError if the model's process has ended; the text so far stays.
    """

    def __init__(
        self,
        model: "IsolatedGritLM",
        call: Call,
        document: State | None,
        progress: ProgressCallback,
    ) -> None:
        begun = call.receive().fields
        super().__init__(document)
        self.logprobs: list[TokenLogProbability] = []
        self._model = model  # so that it is not closed while the answer is read
        self._call = call
        self._on_progress = progress
        self._prompt: list[int] = begun["tokens"]
        self._take(begun)
        self._asked = False  # for a piece that did not come yet: Ctrl-C ended the wait
        self._cancelled = False

    def __repr__(self) -> str:
        """Say how far the answer is."""
        state = self.finish_reason or "not ended"
        return f"<IsolatedAnswer: {counted(len(self.generated), 'token')}, {state}>"

    @property
    def tokens(self) -> list[int]:
        """The ids of the prompt and the answer."""
        return self._prompt + self.generated

    @property
    def prompt_tokens(self) -> int:
        """The number of tokens in the prompt."""
        return int(self._progress["prompt_tokens"])

    @property
    def new_tokens(self) -> int:
        """How many tokens were still to be evaluated after the last piece."""
        return int(self._progress["new_tokens"])

    @property
    def cached_tokens(self) -> int:
        """How many of the prompt's tokens needed no evaluation; 0 before the first token."""
        return int(self._progress["cached_tokens"])

    @property
    def dropped(self) -> int:
        """The number of messages left out to make room."""
        return int(self._progress["dropped"])

    @property
    def is_exact(self) -> bool:
        """Whether `text` is exactly the text of the generated tokens."""
        return bool(self._progress["is_exact"])

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """End the answer within one token, from any thread. The text so far stays."""
        self._cancelled = True
        if self.finish_reason is None:
            self._call.cancel()

    def _take(self, fields: Mapping[str, Any]) -> None:
        """Take what the process says of how far the answer is."""
        self._progress = dict(fields)
        self.finish_reason = fields["finish_reason"]

    def _advance(self) -> str:
        if not self._asked:
            self._call.send("next")
            self._asked = True
        while (message := self._call.receive(keep=True)).kind == "progress":
            self._report(message.fields["done"], message.fields["total"])
        fields = message.fields
        piece: str = fields["piece"]
        self.text += piece
        self.generated += fields["generated"]
        for token, log_probability, likeliest in fields["logprobs"]:
            pairs = tuple((each, value) for each, value in likeliest)
            self.logprobs.append(TokenLogProbability(token, log_probability, pairs))
        self._take(fields)
        if "tokens" in fields:  # of a shorter prompt, that made room
            self._prompt = fields["tokens"][: self.prompt_tokens]
        self._asked = False
        self._call.drop()
        if self.finish_reason is not None:
            self._call.close()
        return piece

    def _report(self, done: int, total: int) -> None:
        """Report evaluated tokens; an error of the callback ends the answer."""
        try:
            if not self._cancelled:
                self._on_progress(done, total)
        except BaseException:
            self.cancel()
            raise
        finally:
            self._call.drop()
            self._call.send("next")  # the process waits for it

    def close(self) -> None:
        """Stop an answer before its end, from any thread."""
        if self.finish_reason is None:
            self.cancel()
        with self._lock:
            if self.finish_reason is None:
                self.finish_reason = "cancelled"
            self._call.close()

    def __del__(self) -> None:
        """Give up the answer's place in the process."""
        if hasattr(self, "_call"):
            self._call.close()
