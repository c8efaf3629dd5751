"""What the process of an isolated model does for each kind of call.

A job reads its fields and arrays, sends what it finds, and waits where the program has to
answer first: for the next texts, or before the next piece. So nothing is computed ahead.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from gritlite.errors import UsageError
from gritlite.runtime.answer import Answer
from gritlite.runtime.embed import EmbedOptions
from gritlite.runtime.isolation.messages import Message
from gritlite.runtime.isolation.values import state_fields, state_from
from gritlite.runtime.model import GritLM
from gritlite.runtime.scorer import Scorer
from gritlite.runtime.state import DocumentState

# the methods and properties of `GritLM` whose arguments and results JSON carries as they are
_METHODS = (
    *("tokenize", "embed_tokens", "prompt_tokens", "chat_tokens", "prefix_tokens"),
    *("tokens_beyond", "check_generates", "clear_cache"),
)
_PROPERTIES = ("evaluated", "prefix_length")
# of a loaded model, told once
_FACTS = (
    *("dimension", "max_length", "bos", "threads", "context_length", "longest_context"),
    *("embeds_with", "graph_bytes", "is_trained_to_embed", "generates"),
)


class Models:
    """The process's one model, from when it is loaded."""

    def __init__(self) -> None:
        self.model: GritLM

    def load(self, job: "Job") -> None:
        """Load it. Raises as `GritLM`."""
        options = job.fields["options"]
        self.model = GritLM(job.fields["path"], **options, progress=job.progress, cancel=job.cancel)


class Job(ABC):
    """One call of the program, with the fields and arrays that it gave.

    `cancel` is set when the program cancels it, or no longer waits for it.
    """

    def __init__(self, fields: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> None:
        self.fields = fields
        self.arrays = arrays
        self.cancel = threading.Event()
        self.on_cancel: Callable[[], None] | None = None

    @abstractmethod
    def send(self, kind: str, arrays: Sequence[NDArray[Any]] = (), **fields: Any) -> None:
        """Send the program a message of this job."""

    @abstractmethod
    def wait(self) -> Message:
        """Wait for the program's next message. Raises CancelledError if it left the job."""

    def set_cancelled(self) -> None:
        """Cancel what is being done, from another thread."""
        self.cancel.set()
        if self.on_cancel is not None:
            self.on_cancel()

    def progress(self, done: int, total: int) -> None:
        """Report progress, and wait until the program has seen it: it may end the work."""
        self.send("progress", done=done, total=total)
        self.wait()

    def texts(self) -> Iterator[str]:
        """Yield the texts that the program gives, which it sends some at a time."""
        while True:
            self.send("texts")
            given = self.wait().fields
            yield from given["texts"]
            if given["ended"]:
                return


def load(job: Job, models: Models) -> None:
    """Load the model, and tell of it."""
    models.load(job)
    job.send("result", value={name: getattr(models.model, name) for name in _FACTS})


def load_all(job: Job, models: Models) -> None:
    """Load what is otherwise loaded when it is first needed."""
    models.model.load(progress=job.progress, cancel=job.cancel)
    job.send("result")


def call(job: Job, models: Models) -> None:
    """Call a method of the model, or read a property."""
    name = job.fields["name"]
    if name in _PROPERTIES:
        job.send("result", value=getattr(models.model, name))
    elif name in _METHODS:
        method = getattr(models.model, name)
        job.send("result", value=method(*job.fields["arguments"], **job.fields["options"]))
    else:
        raise UsageError(f"the model's process has no call {name!r}")


def embed(job: Job, models: Models) -> None:
    """Embed texts; send vectors, states and progress as they come."""
    cut = threading.Event()

    def keep(number: int, state: DocumentState) -> None:
        fields, arrays = state_fields(state)
        job.send("kept", arrays, number=number, state=fields)
        job.wait()  # the program has stored it

    def progress(count: int) -> None:
        job.send("progress", count=count)
        job.wait()

    stream = models.model._stream(
        job.texts(),
        EmbedOptions(**job.fields["options"]),
        cancel=job.cancel,
        on_cut=cut,
        keep=keep if job.fields["keep"] else None,
        progress=progress if job.fields["progress"] else None,
    )
    for vectors in stream:
        job.send("vectors", [vectors], cut=cut.is_set())
        job.wait()
    job.send("result", cut=cut.is_set())


def count(job: Job, models: Models) -> None:
    """Count the tokens of each text."""
    job.send("result", value=models.model.token_counts(job.texts(), **job.fields["options"]))


def document_tokens(job: Job, models: Models) -> None:
    """Send the tokens of a text's embedding pass."""
    tokens = models.model.document_tokens(job.fields["text"])
    job.send("result", [tokens.ids], start=tokens.start)


def prefix_state(job: Job, models: Models) -> None:
    """Compute a causal state."""
    state = models.model.prefix_state(job.fields["text"], progress=job.progress, cancel=job.cancel)
    fields, arrays = state_fields(state)
    job.send("result", arrays, state=fields)


def answer(job: Job, models: Models) -> None:
    """Answer a chat or continue a prompt, a piece at a time as the program asks for them."""
    given = job.fields
    document = state_from(given["document"], job.arrays) if given["document"] else None
    options = {**given["options"], **({"progress": job.progress} if given["progress"] else {})}
    ask: Any = models.model.chat if given["task"] == "chat" else models.model.generate
    with ask(*given["arguments"], stream=True, document=document, **options) as begun:
        job.on_cancel = begun.cancel
        if job.cancel.is_set():  # before `on_cancel` was there
            begun.cancel()
        job.send("begun", tokens=list(begun.tokens), **_progress_of(begun))
        generated = recorded = 0
        while begun.finish_reason is None:
            job.wait()
            dropped, piece = begun.dropped, next(begun, "")
            moved = {"tokens": list(begun.tokens)} if begun.dropped != dropped else {}
            logprobs = begun.logprobs
            job.send(
                "piece",
                piece=piece,
                generated=begun.generated[generated:],
                logprobs=[
                    (each.token, each.log_probability, each.likeliest)
                    for each in logprobs[recorded:]
                ],
                **moved,
                **_progress_of(begun),
            )
            generated, recorded = len(begun.generated), len(logprobs)


def _progress_of(begun: Answer) -> dict[str, Any]:
    return {
        "finish_reason": begun.finish_reason,
        "dropped": begun.dropped,
        "prompt_tokens": begun.prompt_tokens,
        "cached_tokens": begun.cached_tokens,
        "new_tokens": begun.new_tokens,
        "is_exact": begun.is_exact,
    }


def score(job: Job, models: Models) -> None:
    """Score tokens with one scorer, again and again, until the program leaves."""
    with Scorer(models.model) as scorer:
        job.send("begun")
        while True:
            given = job.wait().fields
            methods: dict[str, Any] = {
                "tokens": scorer.score,
                "text": scorer.score_text,
                "answer": scorer.score_answer,
            }
            method = methods[given["what"]]
            job.send("score", [method(*given["arguments"], cancel=job.cancel)])


JOBS: Mapping[str, Callable[[Job, Models], None]] = {
    "load": load,
    "load_all": load_all,
    "call": call,
    "embed": embed,
    "count": count,
    "document_tokens": document_tokens,
    "prefix_state": prefix_state,
    "answer": answer,
    "score": score,
}
