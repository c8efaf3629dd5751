"""`Service`: one model and its stores, loaded in a thread, and all that routes may do with them."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from gritlite.runtime.embed import TooLong
from gritlite.runtime.model import GritLM
from gritlite.serve.errors import ApiError
from gritlite.serve.metrics import Metrics, resident_memory
from gritlite.serve.names import Names
from gritlite.serve.service.answers import Answers, AnswerStream, RunningAnswer
from gritlite.serve.service.embeddings import Embedded, Embeddings
from gritlite.serve.settings import Settings

if TYPE_CHECKING:
    from gritlite.rag.store import Store

Load = Callable[[], GritLM]
State = Literal["loading", "ready", "failed", "stopping"]
_Result = TypeVar("_Result")
_RETRY_SECONDS = 2  # while the model is loading
_STOP_SECONDS = 5  # for work in progress to end
_SHORT_WORK = 4  # pieces at once


class NotReadyError(ApiError):
    """The model is not loaded yet, or no longer there."""

    def __init__(self, state: State) -> None:
        message = "the model is still loading" if state == "loading" else "the server stops"
        super().__init__(
            503, f"{message}: try again", code=f"model_{state}", retry_after=_RETRY_SECONDS
        )


class Service:
    """One model for all requests. Its methods are for the thread of the event loop.

    `failure` is why the model could not be loaded.
    """

    def __init__(self, settings: Settings, load: Load) -> None:
        self.settings = settings
        self.names = Names(settings.name, settings.stores)
        self.metrics = Metrics()
        self.failure: BaseException | None = None
        self.state: State = "loading"
        self.loaded = asyncio.Event()  # set when the model is ready, or has failed
        self._load = load
        self._model: GritLM | None = None
        self._stores: Mapping[str, Store] = {}
        self._answers = Answers(settings.parallel, settings.queue)
        self._embeddings: Embeddings | None = None
        self._closing = ExitStack()
        # not the event loop's own threads: a loop ends only when they have
        self._pool = ThreadPoolExecutor(_SHORT_WORK, "short-work")
        self._in_threads = 0
        self._stopping: asyncio.Task[bool] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to load the model, in a thread."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._load_all, args=(loop,), daemon=True)
        self._thread.start()

    def _load_all(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            with ExitStack() as stack:
                model = self._load()
                stack.callback(model.close)
                stores = {
                    name: stack.enter_context(_open_store(path, model))
                    for name, path in self.settings.stores.items()
                }
                self._closing = stack.pop_all()
        except BaseException as error:
            failure = error
            _call(loop, lambda: self._failed(failure))
        else:
            _call(loop, lambda: self._ready(model, stores))

    def _ready(self, model: GritLM, stores: "Mapping[str, Store]") -> None:
        self._model, self._stores = model, stores
        self._embeddings = Embeddings(model, self.settings.queue + self.settings.parallel)
        if self.state == "loading":
            self.state = "ready"
        self.loaded.set()

    def _failed(self, error: BaseException) -> None:
        self.failure = error
        self.state = "failed"
        self.loaded.set()

    @property
    def model(self) -> GritLM:
        """The model, for what is fast and needs no queue. Raises NotReadyError."""
        if self._model is None or self.state != "ready":
            raise NotReadyError(self.state)
        return self._model

    def store(self, name: str) -> "Store":
        """A store by its name. Raises NotReadyError, and ApiError for an unknown name."""
        self.model  # noqa: B018 - raises
        if name not in self._stores:
            problem = f"there is no store {name!r}: expected one of {', '.join(self._stores)}"
            if not self._stores:
                problem = "this server has no store: it was started without --store"
            raise ApiError(404, problem, code="not_found", param="store")
        return self._stores[name]

    @property
    def store_names(self) -> list[str]:
        """The names of the stores."""
        return list(self.settings.stores)

    def answer(
        self, begin: Callable[[GritLM], AnswerStream]
    ) -> AbstractAsyncContextManager[RunningAnswer]:
        """Run the answer that `begin` returns, both in a thread; see `Answers.run`.

        `begin` checks the request and searches stores; it must not iterate over the answer.
        Raises NotReadyError, BusyError and what `begin` raises.
        """
        return self._counted_answer(begin, self.model)

    @contextlib.asynccontextmanager
    async def _counted_answer(
        self, begin: Callable[[GritLM], AnswerStream], model: GritLM
    ) -> AsyncIterator[RunningAnswer]:
        async with self._answers.run(lambda: begin(model)) as running:
            try:
                yield running
            finally:
                answer = running.answer
                self.metrics.add("prompt_tokens_total", answer.prompt_tokens)
                self.metrics.add("cached_tokens_total", answer.cached_tokens)
                self.metrics.add("generated_tokens_total", len(answer.generated))

    async def embed(
        self, texts: Sequence[str], instruction: str = "", *, too_long: TooLong = "error"
    ) -> Embedded:
        """Embed texts; `instruction` is plain words, empty for documents.

        `too_long` decides about texts that do not fit one pass, as in `encode_stream`. Raises
        NotReadyError, BusyError, EmptyTextError, InputTooLongError and InputError.
        """
        prompt = self.model.format.with_instruction(instruction) if instruction else ""
        assert self._embeddings is not None
        embedded = await self._embeddings.embed(texts, prompt, too_long)
        self.metrics.add("embedded_texts_total", len(texts))
        self.metrics.add("embedded_tokens_total", embedded.tokens)
        return embedded

    async def in_thread(self, work: Callable[[GritLM], _Result]) -> _Result:
        """Do short work with the model in a thread: tokens, a search. Raises NotReadyError."""
        model = self.model
        self._in_threads += 1
        done = asyncio.get_running_loop().run_in_executor(self._pool, work, model)
        done.add_done_callback(self._has_worked)
        return await done

    def _has_worked(self, _: object) -> None:
        self._in_threads -= 1

    def gauges(self) -> dict[str, float]:
        """What /metrics tells of this moment."""
        places, embeddings = self._answers.places, self._embeddings
        gauges: dict[str, float] = {
            "answers_running": places.taken,
            "answers_waiting": places.waiting,
            "embeddings_pending": embeddings.pending if embeddings else 0,
            "ready": int(self.state == "ready"),
        }
        memory = resident_memory()
        return gauges if memory is None else {**gauges, "resident_memory_bytes": memory}

    def hide(self, text: str) -> str:
        """A message without the paths of the model and the stores."""
        paths = {str(path): name for name, path in self.settings.stores.items()}
        if self._model is not None:
            paths[str(self._model.path)] = self.settings.name
        for path, name in paths.items():
            text = text.replace(path, name)
        return text

    async def stop(self) -> bool:
        """Cancel all work and free the model; return whether all of it has ended in time.

        Once: a second call waits for the first one.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        return await asyncio.shield(self._stopping)

    async def _stop(self) -> bool:
        self.state = "stopping"
        self._answers.stop()
        if self._embeddings is not None:
            self._embeddings.stop()
        for _ in range(_STOP_SECONDS * 20):
            if self._has_ended():
                await asyncio.to_thread(self._closing.close)
                return True
            await asyncio.sleep(0.05)
        return False

    def _has_ended(self) -> bool:
        is_loading = self._thread is not None and self._thread.is_alive()
        is_embedding = self._embeddings is not None and not self._embeddings.is_idle
        is_working = is_loading or is_embedding or self._in_threads > 0
        return self._answers.is_idle and not is_working


def _open_store(path: Path, model: GritLM) -> "Store":
    from gritlite.rag.store import Store

    return Store.open(path, model, create=False, measures=False)


def _call(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(call)
