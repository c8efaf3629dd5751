"""`AsyncGritLM`: a `GritLM` for programs with an event loop, such as asyncio's."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypedDict, TypeVar, Unpack

from gritlite.prompt import CACHED_QUESTION
from gritlite.runtime.any_model import AnyAnswer, AnyModel
from gritlite.runtime.async_answer import AsyncAnswer
from gritlite.runtime.encoding import EncodeOptions
from gritlite.runtime.engine_choice import Engines, Precision
from gritlite.runtime.llama import GpuLayers
from gritlite.runtime.model import GritLM
from gritlite.runtime.options import ChatOptions
from gritlite.runtime.state import DocumentState, State
from gritlite.runtime.template import Message
from gritlite.runtime.workers import Reins, Workers
from gritlite.system.progress import ProgressCallback, no_progress
from gritlite.system.watch import AnyFlag

T = TypeVar("T")


class LoadOptions(TypedDict, total=False):
    """The keyword arguments of `GritLM`, but for `progress` and `cancel`."""

    context_length: int | None
    threads: int | None
    gpu_layers: GpuLayers
    pass_tokens: int
    conversation_bytes: int
    parallel: int
    editable: bool
    engine: Engines
    precision: Precision | None


class AsyncGritLM:
    """A model whose work is awaited: it runs in threads, and the event loop goes on.

    `model` is a loaded `GritLM` or `IsolatedGritLM`, which this one closes; `AsyncGritLM.load`
    loads a `GritLM` in a thread. Use it from one event loop, as an async context manager, or
    `await close()`. Cancelling a task ends its work within one token, or one operation of a pass.
    Callbacks named `progress` are called in the event loop; an exception that one raises ends its
    work and is raised by it. Arguments, results and errors are those of `GritLM`.
    """

    def __init__(self, model: AnyModel) -> None:
        self.model = model
        self._workers = Workers()

    def __repr__(self) -> str:
        """Say what the model is."""
        return f"<AsyncGritLM of {self.model!r}>"

    @classmethod
    async def load(
        cls,
        model: str | Path = "default",
        *,
        progress: ProgressCallback = no_progress,
        **options: Unpack[LoadOptions],
    ) -> Self:
        """Load a model. Cancelling the task ends the load, and nothing is left of it."""
        workers = Workers()

        def load(reins: Reins) -> GritLM:
            return GritLM(model, progress=reins.report, cancel=reins.cancel, **options)

        try:
            loaded = await workers.run(load, progress=progress, left=GritLM.close)
        finally:
            threading.Thread(target=workers.close).start()  # its work may not have ended
        return cls(loaded)

    async def encode(self, sentences: list[str] | str, **options: Unpack[EncodeOptions]) -> Any:
        """Embed texts; see `GritLM.encode`."""
        return await self._embed(self.model.encode, sentences, options)

    async def encode_queries(
        self, queries: list[str] | str, **options: Unpack[EncodeOptions]
    ) -> Any:
        """Embed queries; see `GritLM.encode_queries`."""
        return await self._embed(self.model.encode_queries, queries, options)

    async def encode_corpus(
        self,
        corpus: str | list[str] | Mapping[str, str] | list[Mapping[str, str]],
        **options: Unpack[EncodeOptions],
    ) -> Any:
        """Embed documents; see `GritLM.encode_corpus`."""
        return await self._embed(self.model.encode_corpus, corpus, options)

    async def _embed(
        self, encode: Callable[..., Any], texts: object, options: EncodeOptions
    ) -> Any:
        progress = options.pop("progress", no_progress)
        cancel = options.pop("cancel", None)

        def embed(reins: Reins) -> Any:
            either = AnyFlag(cancel, reins.cancel)
            return encode(texts, progress=reins.report, cancel=either, **options)

        return await self._workers.run(embed, progress=progress)

    def chat(
        self,
        messages: Sequence[Message],
        *,
        document: State | None = None,
        wording: str = CACHED_QUESTION,
        **options: Unpack[ChatOptions],
    ) -> AsyncAnswer:
        """Answer a chat: `await` it for the text, or `async for` its pieces; see `GritLM.chat`."""

        def ask(led: ChatOptions) -> AnyAnswer:
            return self.model.chat(messages, stream=True, document=document, wording=wording, **led)

        return self._answer(ask, options)

    def generate(
        self, prompt: str, *, document: State | None = None, **options: Unpack[ChatOptions]
    ) -> AsyncAnswer:
        """Continue a raw prompt, as `chat` answers; see `GritLM.generate`."""

        def ask(led: ChatOptions) -> AnyAnswer:
            return self.model.generate(prompt, stream=True, document=document, **led)

        return self._answer(ask, options)

    def _answer(self, ask: Callable[[ChatOptions], AnyAnswer], options: ChatOptions) -> AsyncAnswer:
        progress = options.pop("progress", no_progress)

        def begin(reins: Reins) -> AnyAnswer:
            self.model.load(cancel=reins.cancel)
            return ask({**options, "progress": reins.report})

        return AsyncAnswer(self._workers, begin, progress)

    async def prefix_state(
        self, text: str, *, progress: ProgressCallback = no_progress
    ) -> DocumentState:
        """Return a text's state at the beginning of a message; see `GritLM.prefix_state`."""
        return await self._workers.run(
            lambda reins: self.model.prefix_state(text, progress=reins.report, cancel=reins.cancel),
            progress=progress,
        )

    async def document_state(self, text: str) -> DocumentState:
        """Return the state that a text's embedding leaves; see `GritLM.document_state`."""
        return await self._workers.run(
            lambda reins: self.model.document_state(text, cancel=reins.cancel)
        )

    async def run(self, work: Callable[[AnyModel, threading.Event], T]) -> T:
        """Do other work with the model in a thread, such as a search in a `Store`.

        `work` takes the model, and an event that is set when the task is cancelled.
        """
        return await self._workers.run(lambda reins: work(self.model, reins.cancel))

    async def close(self) -> None:
        """Free all memory. Work in progress ends with ClosedError."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.model.close()
        self._workers.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
