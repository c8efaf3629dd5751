"""The process of an isolated model, what is known of the model, and its tokens."""

import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Self

from numpy.typing import NDArray

from gritlite.errors import ModelProcessError, UsageError
from gritlite.modelfile.header import read_header
from gritlite.prompt import EmbedFormat, sliding_window
from gritlite.runtime.isolation.calls import Call
from gritlite.runtime.isolation.process import ModelProcess, Restarting
from gritlite.runtime.model_identity import ModelIdentity
from gritlite.runtime.template import Message, Tool
from gritlite.runtime.tokens import TextTokens
from gritlite.system.locate import locate
from gritlite.system.progress import ProgressCallback, no_progress
from gritlite.system.watch import Watch

# what `GritLM` has and cannot be had here: it is memory of the other process
_NOT_OFFERED = frozenset(
    ("engine", "embedding_engine", "scheduler", "attach", "detach", "edits", "weights_changed")
)


class RemoteModel:
    """A model in a process that is started again after it ended."""

    def __init__(
        self,
        model: str | Path = "default",
        *,
        context_length: int | None = None,
        threads: int | None = None,
        gpu_layers: int | str = "auto",
        pass_tokens: int | None = None,
        conversation_bytes: int | None = None,
        parallel: int = 1,
        engine: str = "auto",
        precision: str | None = None,
        progress: ProgressCallback = no_progress,
        cancel: threading.Event | None = None,
    ) -> None:
        options = {
            "context_length": context_length,
            "threads": threads,
            "gpu_layers": gpu_layers,
            "pass_tokens": pass_tokens,
            "conversation_bytes": conversation_bytes,
            "parallel": parallel,
            "engine": engine,
            "precision": precision,
        }
        self.path = locate(str(model))
        self._load_options = {name: each for name, each in options.items() if each is not None}
        self._facts: dict[str, Any] = {}
        self._evaluated = 0  # by all processes, when it was last asked
        self._evaluated_before = 0  # by processes that have ended
        this = weakref.ref(self)  # what closes the model must not keep it
        self._process = Restarting(lambda process: _begin(this, process))
        self._close = weakref.finalize(self, self._process.close)
        self.file = read_header(self.path)
        self.format = EmbedFormat.from_metadata(self.file.metadata)
        self.sliding_window = sliding_window(self.file.metadata)
        self.identity = ModelIdentity(self.file)
        self._hooks: tuple[ProgressCallback, threading.Event | None] = (progress, cancel)
        self._process.get()
        self._hooks = (no_progress, None)  # the caller's count for the first process

    def _load(self, process: ModelProcess) -> None:
        """Load the model in a new process. Raises FileError if the file has changed."""
        progress, cancel = self._hooks
        Watch("loading the model", cancel=cancel).check()
        self.identity.check_unchanged()
        self._evaluated_before = self._evaluated
        fields = {"path": str(self.path), "options": self._load_options}
        with Call(process, "load", fields) as call:
            self._facts = call.result(progress, cancel).fields["value"]

    def load(
        self, *, progress: ProgressCallback = no_progress, cancel: threading.Event | None = None
    ) -> None:
        """Load what is otherwise loaded when it is first needed to generate."""
        with self.begin("load_all", {}) as call:
            call.result(progress, cancel)

    def begin(
        self, kind: str, fields: Mapping[str, Any], arrays: Sequence[NDArray[Any]] = ()
    ) -> Call:
        """Call the process, which is started if it has ended. Raises as `Restarting.get`."""
        return Call(self._process.get(), kind, fields, arrays)

    def _call(self, name: str, *arguments: object, **options: object) -> Any:
        """Call a method of the model in the process, or read a property."""
        fields = {"name": name, "arguments": arguments, "options": options}
        with self.begin("call", fields) as call:
            return call.receive().fields["value"]

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse what is not offered by name."""
        if name in _NOT_OFFERED:
            raise UsageError(
                f"a model in a process of its own has no {name}: its memory is in that process; "
                "load the model with GritLM for it"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        """Say what the model is, and whether its process runs."""
        found = "no process" if self.process_id is None else f"process {self.process_id}"
        state = "closed" if self.is_closed else f"embeds with {self.embeds_with}, {found}"
        return f"<{type(self).__name__} {self.path.name}: {state}>"

    @property
    def process_id(self) -> int | None:
        """The number of the model's process; None while there is none, as after a crash."""
        return self._process.id

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._process.closed

    @property
    def fingerprint(self) -> str:
        """What tells this model from others: the digest of the file's bytes.

        Raises FileError if the file cannot be read, or has changed since it was loaded.
        """
        return self.identity.fingerprint()

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self._facts["dimension"])

    @property
    def max_length(self) -> int:
        """The maximum number of tokens in an embedding pass, prompt and BOS included."""
        return int(self._facts["max_length"])

    @property
    def longest_context(self) -> int:
        """The most tokens that are computed as the model was trained."""
        return int(self._facts["longest_context"])

    @property
    def context_length(self) -> int:
        """The maximum number of tokens in a chat."""
        return int(self._facts["context_length"])

    @property
    def threads(self) -> int:
        """The number of threads that compute."""
        return int(self._facts["threads"])

    @property
    def bos(self) -> int | None:
        """The token that begins every input, None if the file has none."""
        found: int | None = self._facts["bos"]
        return found

    @property
    def embeds_with(self) -> str:
        """What embeds: "llama", or the form of a graph, such as "onnx-int8"."""
        return str(self._facts["embeds_with"])

    @property
    def graph_bytes(self) -> int:
        """The bytes of the graph that embeds, if one does."""
        return int(self._facts["graph_bytes"])

    @property
    def is_trained_to_embed(self) -> bool:
        """Whether the file says that its model was trained to embed."""
        return bool(self._facts["is_trained_to_embed"])

    @property
    def generates(self) -> bool:
        """Whether the file can generate."""
        return bool(self._facts["generates"])

    @property
    def evaluated(self) -> int:
        """The tokens evaluated for answers and prefixes since the model was first loaded."""
        found = self._call("evaluated")
        self._evaluated = self._evaluated_before + int(found)
        return self._evaluated

    @property
    def prefix_length(self) -> int:
        """The number of tokens of a chat before the text of its first user message."""
        return int(self._call("prefix_length"))

    def tokenize(self, text: str, *, continues: bool = False) -> list[int]:
        """Return the token ids of a plain text, without BOS or control tokens."""
        return list(self._call("tokenize", text, continues=continues))

    def tokens_beyond(self, characters: int, limit: int) -> int:
        """Return a number of tokens over `limit` that any text of so many characters has at least.

        0 if their number does not prove it.
        """
        return int(self._call("tokens_beyond", characters, limit))

    def embed_tokens(
        self, text: str, *, instruction: str = "", max_length: int | None = None
    ) -> list[list[int]]:
        """Return the token ids that `encode` evaluates for a text, BOS and prompt included."""
        options = {"instruction": instruction, "max_length": max_length}
        return list(self._call("embed_tokens", text, **options))

    def prompt_tokens(self, prompt: str) -> list[int]:
        """Return the token ids that `generate` evaluates for a raw prompt, with BOS if any."""
        return list(self._call("prompt_tokens", prompt))

    def chat_tokens(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[int]:
        """Return the token ids that `chat` evaluates for messages, up to the next answer."""
        return list(self._call("chat_tokens", messages, tools))

    def prefix_tokens(self, text: str) -> list[int]:
        """Return the tokens of a chat whose first message begins with `text` and a blank line."""
        return list(self._call("prefix_tokens", text))

    def document_tokens(self, text: str) -> TextTokens:
        """Return the tokens that `document_state` evaluates."""
        with self.begin("document_tokens", {"text": text}) as call:
            found = call.receive()
        return TextTokens(found.arrays[0], found.fields["start"])

    def check_generates(self) -> None:
        """Raise UsageError or ArchitectureError for a file that only embeds."""
        self._call("check_generates")

    def clear_cache(self) -> None:
        """Drop all cached tokens, so that the next answer evaluates everything."""
        self._call("clear_cache")

    def close(self) -> None:
        """End the model's process. Calls that wait for it raise ClosedError."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _begin(model: "weakref.ref[RemoteModel]", process: ModelProcess) -> None:
    found = model()
    if found is None:
        raise ModelProcessError("the model is no longer held")
    found._load(process)
