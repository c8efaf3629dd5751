"""Embeddings: requests that come while a pass runs are merged into the next one.

A request that comes alone begins at once, and gives the same bits as `GritLM.encode`. Requests
that fit one pass and larger ones have lanes of their own, with a thread each: the model's
scheduler lets a small one, such as a search query, pass a large one after the pass in progress.
"""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from gritlite.errors import CancelledError, GritLiteError
from gritlite.modelfile.memory import PASS_TOKENS
from gritlite.runtime.cutting import cut
from gritlite.runtime.embed import TooLong, Vectors
from gritlite.runtime.model import GritLM
from gritlite.serve.service.places import BusyError, Pace

_MERGED_PASSES = 16  # of large requests: as many as the model packs together


@dataclass(frozen=True)
class Embedded:
    """The vectors of texts, float32 [n, dimension], and the number of their tokens."""

    vectors: Vectors
    tokens: int

    def cut(self, dimensions: int | None) -> "Embedded":
        """The same with vectors of fewer numbers; None keeps all."""
        return replace(self, vectors=cut(self.vectors, dimensions))


@dataclass(eq=False)
class _Job:
    texts: Sequence[str]
    prompt: str
    too_long: TooLong
    tokens: int
    vectors: "asyncio.Future[Vectors]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Embeddings:
    """Embeds texts for many requests, of which at most `queue` may be open."""

    def __init__(self, model: GritLM, queue: int) -> None:
        self._model = model
        self._queue = queue
        self._pool = ThreadPoolExecutor(2, "embed")
        self._counters = ThreadPoolExecutor(2, "count-tokens")
        self._stopping = threading.Event()
        self._pace = Pace(1, queue)
        pass_tokens = min(PASS_TOKENS, model.max_length)
        self._pass_tokens = pass_tokens
        self._small = _Lane(model, self._pool, pass_tokens)
        self._large = _Lane(model, self._pool, _MERGED_PASSES * pass_tokens)
        self.pending = 0

    async def embed(
        self, texts: Sequence[str], prompt: str, too_long: TooLong = "error"
    ) -> Embedded:
        """Embed texts behind `prompt`, in the file's own form; empty: its document prompt.

        `too_long` decides about texts of more tokens than a pass has. Cancelling the task ends
        the work within one text, or one pass. Raises BusyError, the errors of `GritLM.check`
        with the number of the text, and CancelledError after `stop`.
        """
        if self.pending >= self._queue:
            raise BusyError(self.pending, self._pace.promise(self.pending))
        self.pending += 1
        started = time.monotonic()
        try:
            job = _Job(texts, prompt, too_long, await self._count(texts, prompt, too_long))
            if self._stopping.is_set():
                raise CancelledError("the server stops")
            lane = self._small if job.tokens <= self._pass_tokens else self._large
            return Embedded(await lane.run(job), job.tokens)
        finally:
            self._pace.add((time.monotonic() - started) / self.pending)
            self.pending -= 1

    async def _count(self, texts: Sequence[str], prompt: str, too_long: TooLong) -> int:
        """The number of tokens of texts, which are checked."""
        has_left = threading.Event()

        def wanted() -> Iterator[str]:
            for text in texts:
                if has_left.is_set() or self._stopping.is_set():
                    raise CancelledError("the server stops")
                yield text

        def work() -> int:
            counts = self._model.token_counts(wanted(), instruction=prompt, too_long=too_long)
            return sum(counts)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._counters, work)
        finally:
            has_left.set()

    def stop(self) -> None:
        """End all passes."""
        self._stopping.set()
        self._small.stop()
        self._large.stop()

    @property
    def is_idle(self) -> bool:
        """Whether no pass runs, and no text is read."""
        return not self.pending and self._small.is_idle and self._large.is_idle


class _Lane:
    """Jobs in order of arrival, as many at once as `most_tokens` allow."""

    def __init__(self, model: GritLM, pool: ThreadPoolExecutor, most_tokens: int) -> None:
        self._model = model
        self._pool = pool
        self._most_tokens = most_tokens
        self._jobs: list[_Job] = []
        self._worker: asyncio.Task[None] | None = None
        self._batch: list[_Job] = []
        self._cancel = threading.Event()

    async def run(self, job: _Job) -> Vectors:
        """The vectors of a job, once they are there."""
        self._jobs.append(job)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        try:
            return await job.vectors
        finally:
            if job in self._jobs:
                self._jobs.remove(job)
            self._end_if_unwanted()

    def _end_if_unwanted(self) -> None:
        """Cancel the batch in progress if the clients of all its jobs have left."""
        if self._batch and all(job.vectors.done() for job in self._batch):
            self._cancel.set()

    async def _work(self) -> None:
        while self._jobs:
            self._batch = self._take()
            for part in await self._attempt(self._batch):
                await self._attempt([part])  # alone, so that one's fault is not the others'
            self._batch = []
        self._worker = None

    def _take(self) -> list[_Job]:
        """Remove the oldest job and those that can share its passes."""
        first, *others = self._jobs
        batch, tokens = [first], first.tokens
        for job in others:
            is_alike = (job.prompt, job.too_long) == (first.prompt, first.too_long)
            if is_alike and tokens + job.tokens <= self._most_tokens:
                batch.append(job)
                tokens += job.tokens
        self._jobs = [job for job in self._jobs if job not in batch]
        return batch

    async def _attempt(self, jobs: Sequence[_Job]) -> Sequence[_Job]:
        """Embed jobs together; return those to be tried alone, if together they failed."""
        wanted = [job for job in jobs if not job.vectors.done()]
        if not wanted:
            return ()
        self._cancel = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            vectors = await loop.run_in_executor(self._pool, self._embed, wanted, self._cancel)
        except Exception as error:
            if len(wanted) > 1 and isinstance(error, GritLiteError) and not self._cancel.is_set():
                return wanted
            for job in wanted:
                if not job.vectors.done():
                    job.vectors.set_exception(error)
            return ()
        for job, part in zip(wanted, _split(wanted, vectors), strict=True):
            if not job.vectors.done():
                job.vectors.set_result(part)
        return ()

    def _embed(self, jobs: Sequence[_Job], cancel: threading.Event) -> Vectors:
        texts = [text for job in jobs for text in job.texts]
        first = jobs[0]
        stream = self._model.encode_stream(
            texts, instruction=first.prompt, too_long=first.too_long, cancel=cancel
        )
        return np.concatenate(list(stream))

    def stop(self) -> None:
        """End the batch in progress and all that wait."""
        self._cancel.set()
        for job in (*self._batch, *self._jobs):
            if not job.vectors.done():
                job.vectors.set_exception(CancelledError("the server stops"))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being embedded."""
        return not self._batch


def _split(jobs: Sequence[_Job], vectors: Vectors) -> Iterator[Vectors]:
    """The vectors of each job."""
    start = 0
    for job in jobs:
        yield vectors[start : start + len(job.texts)]
        start += len(job.texts)
