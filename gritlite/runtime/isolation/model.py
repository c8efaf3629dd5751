"""`IsolatedGritLM`: the interface of `GritLM`, with the model in a process of its own.

llama.cpp, its memory and the weights are in that process alone. What the methods do is said
in `GritLM` and `EmbeddingModel`; they return the same numbers and raise the same errors.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Unpack, overload

from gritlite.errors import UsageError
from gritlite.prompt import CACHED_QUESTION
from gritlite.runtime.answer import warn_dropped
from gritlite.runtime.embed import EmbedOptions, TooLong, Vectors
from gritlite.runtime.encoding import OfficialEncoding
from gritlite.runtime.isolation.answer import IsolatedAnswer
from gritlite.runtime.isolation.calls import Texts
from gritlite.runtime.isolation.remote import RemoteModel
from gritlite.runtime.isolation.values import document_state_from, state_fields
from gritlite.runtime.options import ChatOptions
from gritlite.runtime.state import DocumentState, State, joined
from gritlite.runtime.template import Message
from gritlite.system.progress import ProgressCallback, no_progress


class IsolatedGritLM(RemoteModel, OfficialEncoding):
    """A `GritLM` in a process of its own, for programs that must never end with it. Thread-safe.

    The arguments are those of `GritLM`, but `editable`. If the process crashes, or the system
    ends it for want of memory, every call that waits for it raises ModelProcessError, and so
    does an answer that is read; the next call starts a new process, which loads the model
    again. What chats had evaluated is then evaluated anew. The process ends with the model,
    and with the program, however that ends.

    It has the methods of `GritLM`, a `Store` can be opened with it, and texts, vectors and
    key-value states go through pipes. Not offered are what works on the model's own memory:
    `Observer`, `WeightEditor` and `Scorer` (`open_scorer` opens one).

    Raises what `GritLM` raises, and ModelProcessError if the process ends while it loads.
    """

    def check(
        self,
        texts: Iterable[str],
        *,
        instruction: str = "",
        max_length: int | None = None,
        too_long: TooLong = "error",
    ) -> int:
        """Raise the errors that `encode_stream` would raise, and return the number of texts."""
        counts = self.token_counts(
            texts, instruction=instruction, max_length=max_length, too_long=too_long
        )
        return len(counts)

    def token_counts(
        self,
        texts: Iterable[str],
        *,
        instruction: str = "",
        max_length: int | None = None,
        too_long: TooLong = "error",
    ) -> list[int]:
        """Return how many tokens `encode_stream` evaluates for each text."""
        options = {"instruction": instruction, "max_length": max_length, "too_long": too_long}
        with self.begin("count", {"options": options}) as call:
            given = Texts(texts)
            while (message := call.receive()).kind == "texts":
                given.answer(call)
            return list(message.fields["value"])

    def encode_stream(
        self,
        texts: Iterable[str],
        *,
        instruction: str = "",
        max_length: int | None = None,
        too_long: TooLong = "error",
        dimensions: int | None = None,
        cancel: threading.Event | None = None,
        on_cut: threading.Event | None = None,
        keep: Callable[[int, DocumentState], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Vectors]:
        """Embed any number of texts in bounded memory; see `GritLM.encode_stream`."""
        if keep is not None and too_long == "chunk":
            raise UsageError("a text that is embedded in chunks has no single state")
        options = EmbedOptions(
            instruction or None, max_length=max_length, too_long=too_long, dimensions=dimensions
        )
        return self._stream(
            texts, options, cancel=cancel, on_cut=on_cut, keep=keep, progress=progress
        )

    def _stream(
        self,
        texts: Iterable[str],
        options: EmbedOptions,
        *,
        cancel: threading.Event | None,
        on_cut: threading.Event | None,
        keep: Callable[[int, DocumentState], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Vectors]:
        self._process.get()
        return self._embed(texts, options, cancel, on_cut, keep, progress)

    def _embed(
        self,
        texts: Iterable[str],
        options: EmbedOptions,
        cancel: threading.Event | None,
        on_cut: threading.Event | None,
        keep: Callable[[int, DocumentState], None] | None,
        progress: Callable[[int], None] | None,
    ) -> Iterator[Vectors]:
        given = Texts(texts)
        fields = {
            "options": vars(options),
            "keep": keep is not None,
            "progress": progress is not None,
        }
        with self.begin("embed", fields) as call:
            while True:
                message = call.receive(cancel)
                if on_cut is not None and message.fields.get("cut"):
                    on_cut.set()
                if message.kind == "texts":
                    given.answer(call)
                elif message.kind == "kept" and keep is not None:
                    state = document_state_from(message.fields["state"], message.arrays)
                    keep(message.fields["number"], state)
                    call.send("next")
                elif message.kind == "progress" and progress is not None:
                    progress(message.fields["count"])
                    call.send("next")
                elif message.kind == "vectors":
                    yield message.arrays[0]
                    call.send("next")
                else:
                    return

    def document_state(self, text: str, *, cancel: threading.Event | None = None) -> DocumentState:
        """Return the key-value state of a document's embedding pass."""
        states: list[DocumentState] = []
        for _ in self.encode_stream(
            [text], cancel=cancel, keep=lambda _, state: states.append(state)
        ):
            pass
        return states[0]

    def prefix_state(
        self,
        text: str,
        *,
        progress: ProgressCallback = no_progress,
        cancel: threading.Event | None = None,
    ) -> DocumentState:
        """Return the causal state of a text at the beginning of a user's message."""
        with self.begin("prefix_state", {"text": text}) as call:
            found = call.result(progress, cancel)
        return document_state_from(found.fields["state"], found.arrays)

    def join_states(self, states: Sequence[DocumentState], *, recompute: int = 0) -> State:
        """Return several documents' states, concatenated, for `chat` and `generate`."""
        return joined(states, bos=0 if self.bos is None else 1, recompute=recompute)

    @overload
    def generate(
        self,
        prompt: str,
        *,
        stream: Literal[False] = False,
        document: State | None = None,
        **options: Unpack[ChatOptions],
    ) -> str: ...
    @overload
    def generate(
        self,
        prompt: str,
        *,
        stream: Literal[True],
        document: State | None = None,
        **options: Unpack[ChatOptions],
    ) -> IsolatedAnswer: ...
    def generate(
        self,
        prompt: str,
        *,
        stream: bool = False,
        document: State | None = None,
        **options: Unpack[ChatOptions],
    ) -> str | IsolatedAnswer:
        """Continue a raw prompt; see `GritLM.generate`."""
        answer = self._answer("generate", [prompt], document, {**options})
        return answer if stream else "".join(answer)

    @overload
    def chat(
        self,
        messages: Sequence[Message],
        *,
        stream: Literal[False] = False,
        document: State | None = None,
        wording: str = CACHED_QUESTION,
        **options: Unpack[ChatOptions],
    ) -> str: ...
    @overload
    def chat(
        self,
        messages: Sequence[Message],
        *,
        stream: Literal[True],
        document: State | None = None,
        wording: str = CACHED_QUESTION,
        **options: Unpack[ChatOptions],
    ) -> IsolatedAnswer: ...
    def chat(
        self,
        messages: Sequence[Message],
        *,
        stream: bool = False,
        document: State | None = None,
        wording: str = CACHED_QUESTION,
        **options: Unpack[ChatOptions],
    ) -> str | IsolatedAnswer:
        """Answer a chat; see `GritLM.chat`."""
        answer = self._answer("chat", [messages], document, {"wording": wording, **options})
        if stream:
            return answer
        text = "".join(answer)
        warn_dropped(answer.dropped, self.context_length)
        return text

    def _answer(
        self, task: str, arguments: list[Any], document: State | None, options: dict[str, Any]
    ) -> IsolatedAnswer:
        fields, arrays = state_fields(document) if document is not None else (None, [])
        progress = options.get("progress", no_progress)
        if callable(progress):  # what is none is refused there
            options.pop("progress", None)
        asked = {
            "task": task,
            "arguments": arguments,
            "document": fields,
            "options": options,
            "progress": progress is not no_progress and callable(progress),
        }
        call = self.begin("answer", asked, arrays)
        try:
            return IsolatedAnswer(self, call, document, progress)
        except BaseException:
            call.close()
            raise
