"""`GritLM`: one loaded file that embeds and generates.

An embedding pass and a decoder of llama.cpp share one copy of the weights (see
docs/switching.md), so embedding during a chat does not affect the chat's state. Where a graph
embeds (see docs/embedding.md), llama.cpp's weights are loaded when they are first needed.
"""

import threading
import warnings
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, Self, Unpack, overload
from uuid import uuid4

from gritlite.errors import EmptyTextError, TruncationWarning, UsageError
from gritlite.modelfile.check import check_model
from gritlite.modelfile.header import read_header
from gritlite.modelfile.hyperparameters import embeds_only
from gritlite.modelfile.memory import PASS_TOKENS
from gritlite.prompt import (
    BEHIND_TEXT,
    CACHED_QUESTION,
    EmbedFormat,
    can_generate,
    is_trained_to_embed,
    sliding_window,
)
from gritlite.runtime.answer import Answer
from gritlite.runtime.chat import Chat
from gritlite.runtime.embedding_model import EmbeddingModel
from gritlite.runtime.engine_choice import EngineOptions, Engines, Precision, open_graph
from gritlite.runtime.generator import Generator
from gritlite.runtime.llama import GpuLayers, LlamaEngine, no_output_matrix
from gritlite.runtime.loading import load_llama, make_generator
from gritlite.runtime.on_demand import Closable, OnDemand
from gritlite.runtime.options import ChatOptions, generate_options
from gritlite.runtime.scheduler import Scheduler
from gritlite.runtime.state import DocumentState, State
from gritlite.runtime.template import ChatTemplate, Message
from gritlite.system.locate import locate
from gritlite.system.threads import default_threads
from gritlite.system.wording import counted

DEFAULT_CONTEXT = 4096
CONVERSATION_BYTES = 256 << 20
_ANY_WORD = "a"
# llama.cpp keeps counts of tokens in 32 bits and rounds them up to 256; threads: GGML_MAX_N_THREADS
_LIMITS = {"context_length": 2**31 - 256, "threads": 512, "pass_tokens": 2**31 - 256}


class GritLM(EmbeddingModel):
    """A model file that embeds and generates. Thread-safe.

    Close it, use it as a context manager, or drop it. A forked process cannot use it.

    `model` is the path of a GGUF file or the name of a pulled model.
    `context_length` is the maximum number of tokens in a chat (default: the
    model's, at most 4,096). `threads` defaults to the physical cores.
    `gpu_layers` is a number, "all" or "auto". `pass_tokens` is the size of a
    packed embedding pass. `conversation_bytes` is the memory budget for the states of
    interrupted conversations, so that chats that take turns are not evaluated again
    (default 256 MiB; 0 saves none). An `editable` model has a private copy of its weights,
    for `gritlite.runtime.instruments.WeightEditor`.

    `engine` says what embeds. "llama" is llama.cpp. "onnx" and "openvino" run a graph of the
    file, an extra each; they prepare it when the file is first used so. "auto" is what the
    environment variable GRITLITE_ENGINE says, otherwise a graph that was prepared before
    (see `prepare_engine`) and passed its check here, or llama.cpp. `precision` is that of the
    graph: "exact" computes with the file's numbers, "fast" with rounded ones; None means
    "fast" if it has passed its check. llama.cpp generates, whatever embeds; with a graph its
    weights are loaded when they are first needed, and an exact graph reads long prompts.

    Raises FileError, FormatError, ArchitectureError or TokenizerError for a file
    that cannot be used, DeviceError for GPU layers without a GPU, LibraryError
    when llama.cpp cannot run on this processor, MissingExtraError for an engine that is not
    installed, and OutOfMemoryError; those of llama.cpp's weights when they are loaded.
    """

    def __init__(
        self,
        model: str | Path = "default",
        *,
        context_length: int | None = None,
        threads: int | None = None,
        gpu_layers: GpuLayers = "auto",
        pass_tokens: int = PASS_TOKENS,
        conversation_bytes: int = CONVERSATION_BYTES,
        editable: bool = False,
        engine: Engines = "auto",
        precision: Precision | None = None,
    ) -> None:
        _check_counts(context_length=context_length, threads=threads, pass_tokens=pass_tokens)
        if conversation_bytes < 0:
            raise UsageError(f"conversation_bytes is {conversation_bytes}: expected 0 or more")
        self.path = locate(str(model))
        file = read_header(self.path)
        check_model(file)
        embed_format = EmbedFormat.from_metadata(file.metadata)
        self._embeds_only = embeds_only(file)
        window = sliding_window(file.metadata)
        if context_length is not None and window is not None and context_length > window:
            raise UsageError(
                f"context_length is {context_length}: expected at most {window}, the window that "
                "this model attends to; beyond it answers would be wrong"
            )
        self.threads = threads or default_threads()
        options = EngineOptions(engine, precision, self.threads, gpu_layers)
        if editable and options.runtime is not None:
            raise UsageError(f"weights are edited in llama.cpp: use the engine llama, not {engine}")
        self._llama = OnDemand(partial(load_llama, file, self.threads, gpu_layers, editable))
        graph = None if editable else open_graph(file, options)
        self._graph = graph
        super().__init__(
            self._llama.get() if graph is None else graph.engine,
            file,
            embed_format,
            Scheduler(),
            pass_tokens=pass_tokens,
        )
        self.context_length = context_length or min(self.longest_context, DEFAULT_CONTEXT)
        self._generators = OnDemand(
            partial(
                make_generator,
                self._llama,
                self.scheduler,
                file,
                context_length=self.context_length,
                conversation_bytes=conversation_bytes,
                # rounded numbers would change answers
                prefill_engine=graph.engine if graph and graph.form.is_exact else None,
            )
        )
        self._attached: set[Closable] = set()
        self._chat_lock = threading.Lock()

    @property
    def is_trained_to_embed(self) -> bool:
        """Whether the file says that its model was trained to embed; False if it is not known."""
        return is_trained_to_embed(self.file.metadata)

    @property
    def engine(self) -> LlamaEngine:
        """llama.cpp's engine; its weights are loaded if they are not. Raises as `GritLM`."""
        if self._llama.made is None:
            self._check_open()
        return self._llama.get()

    @property
    def embeds_with(self) -> str:
        """What embeds: "llama", or the form of a graph, such as "onnx-int8"."""
        return self._graph.form.name if self._graph else "llama"

    @property
    def graph_bytes(self) -> int:
        """The bytes of the graph that embeds, a second copy of weights if both tasks are used."""
        return self._graph.bytes if self._graph else 0

    @property
    def _generator(self) -> Generator:
        if self._generators.made is None:
            self._check_open()
        return self._generators.get()

    @property
    def evaluated(self) -> int:
        """The tokens evaluated for answers and prefixes since the model was loaded."""
        generator = self._generators.made
        return 0 if generator is None else generator.evaluated

    def prompt_tokens(self, prompt: str) -> list[int]:
        """Return the token ids that `generate` evaluates for a raw prompt, with BOS if any."""
        bos = [] if self.bos is None else [self.bos]
        return bos + self.tokenize(prompt)

    def chat_tokens(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids that `chat` evaluates for messages, up to the next answer.

        Raises UsageError for messages that are not valid or that the template rejects.
        """
        self._check_open()
        return self._chat.tokens(messages)

    def prefix_tokens(self, text: str) -> list[int]:
        """Return the tokens of a chat whose first message begins with `text` and a blank line.

        They end after the blank line. Raises EmptyTextError.
        """
        self._check_open()
        if not text:
            raise EmptyTextError("the text is empty: there is nothing to evaluate")
        # line ends are tokenized differently before a word than at the end of a text
        tokens = self._tokenizer.plain(text + BEHIND_TEXT + _ANY_WORD, continues=True)
        word = self._tokenizer.plain(_ANY_WORD, continues=True)
        return [*self._chat.prefix(), *tokens[: -len(word)].tolist()]

    @property
    def prefix_length(self) -> int:
        """The number of tokens of a chat before the text of its first user message."""
        return len(self._chat.prefix())

    def prefix_state(self, text: str) -> DocumentState:
        """Return the causal state of a text at the beginning of a user's message.

        A chat that continues it answers like one whose first message begins with the text
        and a blank line. Exception: if the rest of the message begins with a space, the line
        end and the space are separate tokens here. Raises EmptyTextError, and
        InputTooLongError for a text that does not fit the context.
        """
        self.check_generates()
        tokens = self.prefix_tokens(text)
        key_values = self._generator.prefill(tokens)
        return DocumentState(
            ids=tuple(tokens),
            head=self.prefix_length,
            attention="causal",
            model=self.fingerprint,
            opens_message=True,
            key_values=key_values,
        )

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
    ) -> Answer: ...
    def generate(
        self,
        prompt: str,
        *,
        stream: bool = False,
        document: State | None = None,
        **options: Unpack[ChatOptions],
    ) -> str | Answer:
        """Continue a raw prompt. Takes `chat`'s options.

        No template is applied, and nothing in the prompt becomes a control token; BOS is
        added if the file asks for it. With a `document` the prompt directly follows its
        text. Returns the text, or with `stream` an Answer that yields its pieces. Raises
        UsageError for bad options or a state of another model, and InputTooLongError.
        """
        self.check_generates()
        if document is None:
            tokens = self.prompt_tokens(prompt)
        else:
            self._check_document(document)
            tokens = self.tokenize(prompt, continues=True)
        answer = Answer(self._generator, tokens, generate_options(**options), document=document)
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
    ) -> Answer: ...
    def chat(
        self,
        messages: Sequence[Message],
        *,
        stream: bool = False,
        document: State | None = None,
        wording: str = CACHED_QUESTION,
        **options: Unpack[ChatOptions],
    ) -> str | Answer:
        """Answer a chat: messages are mappings of `role` (system, user, assistant) and `content`.

        `options` are those of `ChatOptions`. Returns the text, or with `stream` an Answer
        that yields its pieces and can be cancelled from any thread. Only tokens that are new
        in this chat are evaluated. When the context is full, the oldest turns are dropped
        (Answer.dropped counts the messages), with a warning unless `stream` is set.

        With a `document` (see `document_state`, `prefix_state`, `join_states`) the chat
        continues the document's state, so its text is not evaluated again. Each user message
        then takes the place of `{question}` in `wording`.

        Raises UsageError for bad options, bad messages, a state of another model or a file
        for embedding only, and InputTooLongError if the last message alone does not fit.
        """
        self.check_generates()
        if document is not None:
            self._check_document(document)
        answer = self._chat.answer(messages, generate_options(**options), document, wording)
        if stream:
            return answer
        text = "".join(answer)
        warn_dropped(answer.dropped, self.context_length)
        return text

    def check_generates(self) -> None:
        """Raise UsageError or ArchitectureError for a file that only embeds."""
        self._check_open()
        if not can_generate(self.file.metadata):
            raise no_output_matrix(self.path)
        if self._embeds_only:
            raise UsageError(
                f"{self.path} was written for embedding only: convert it again for both tasks, or "
                "use another file"
            )

    @property
    def _chat(self) -> Chat:
        with self._chat_lock:
            return self._loaded_chat

    @cached_property
    def _loaded_chat(self) -> Chat:
        source = self.file.metadata.get("tokenizer.chat_template")
        template = ChatTemplate(self._tokenizer, str(source) if source is not None else None)
        return Chat(self._generator, template)

    def _check_document(self, document: State) -> None:
        if document.model != self.fingerprint:
            raise UsageError(
                f"the document state was not made by {self.path}: make it with this model"
            )

    def clear_cache(self) -> None:
        """Drop all cached tokens, so that the next answer evaluates everything."""
        self._check_open()
        if self._generators.made is not None:
            self._generators.made.clear()

    def weights_changed(self) -> None:
        """Clear the cache and change the fingerprint, as earlier states are no longer valid."""
        self.edits += 1
        self._edited = f"edited {uuid4().hex}"
        self.clear_cache()

    def attach(self, instrument: Closable) -> None:
        """Close `instrument` when the model is closed, unless it is detached before."""
        self._check_open()
        self._attached.add(instrument)

    def detach(self, instrument: Closable) -> None:
        """Undo `attach`."""
        self._attached.discard(instrument)

    def close(self) -> None:
        """Free all memory, weights included, after the pass or token in progress."""
        if self.scheduler.is_forked:  # the memory belongs to the process that loaded the model
            return
        super().close()
        self._generators.close()
        for instrument in tuple(self._attached):
            instrument.close()
        self._llama.close()
        if self._graph is not None:
            self._graph.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def warn_dropped(count: int, context_length: int) -> None:
    """Warn the caller's caller if the oldest messages were left out of an answer."""
    if count:
        oldest = "message was" if count == 1 else f"{counted(count, 'message')} were"
        warnings.warn(
            f"the context of {context_length:,} tokens is full: the oldest {oldest} left out",
            TruncationWarning,
            stacklevel=3,
        )


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and not 1 <= value <= _LIMITS[name]:
            raise UsageError(f"{name} is {value}: expected 1 to {_LIMITS[name]}")
