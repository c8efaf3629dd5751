"""The generating half of a model: prompts in, answers out, with what an embedding pass leaves."""

import threading
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, Unpack, overload

from gritlite.errors import EmptyTextError, UsageError
from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.hyperparameters import embeds_only
from gritlite.prompt import BEHIND_TEXT, CACHED_QUESTION, EmbedFormat, can_generate
from gritlite.runtime.answer import Answer, warn_dropped
from gritlite.runtime.chat import Chat
from gritlite.runtime.embedding_model import EmbeddingModel
from gritlite.runtime.engine import EmbeddingEngine
from gritlite.runtime.generator import Generator
from gritlite.runtime.llama import no_output_matrix
from gritlite.runtime.on_demand import OnDemand
from gritlite.runtime.options import ChatOptions, generate_options, raw_options
from gritlite.runtime.scheduler import Scheduler
from gritlite.runtime.state import DocumentState, State
from gritlite.runtime.template import ChatTemplate, Message, Tool
from gritlite.system.progress import ProgressCallback, no_progress
from gritlite.system.watch import Watch

DEFAULT_CONTEXT = 4096
_ANY_WORD = "a"


class GeneratingModel(EmbeddingModel):
    """Embeds texts, and generates with a decoder over the same file. Thread-safe.

    `context_length` is the maximum number of tokens in a chat (None: the model's, at most
    4,096), for which `make_generator` makes what generates when it is first needed. The other
    arguments are those of `EmbeddingModel`.
    """

    def __init__(
        self,
        engine: EmbeddingEngine,
        file: GGUFFile,
        embed_format: EmbedFormat,
        scheduler: Scheduler,
        make_generator: Callable[[int, threading.Event, Watch], Generator],
        *,
        pass_tokens: int,
        context_length: int | None,
    ) -> None:
        super().__init__(engine, file, embed_format, scheduler, pass_tokens=pass_tokens)
        self.path: Path = file.path
        self.context_length = context_length or min(self.longest_context, DEFAULT_CONTEXT)
        self._embeds_only = embeds_only(file)
        self._generators = OnDemand(partial(make_generator, self.context_length, self._closing))
        self._chat_lock = threading.Lock()

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

    def chat_tokens(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[int]:
        """Return the token ids that `chat` evaluates for messages, up to the next answer.

        Raises UsageError for messages that are not valid or that the template rejects.
        """
        self._check_open()
        return self._chat.tokens(messages, tools)

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

    def prefix_state(
        self,
        text: str,
        *,
        progress: ProgressCallback = no_progress,
        cancel: threading.Event | None = None,
    ) -> DocumentState:
        """Return the causal state of a text at the beginning of a user's message.

        A chat that continues it answers like one whose first message begins with the text
        and a blank line. Exception: if the rest of the message begins with a space, the line
        end and the space are separate tokens here. `progress` is called after each part with
        the tokens that are evaluated, and all that have to be. Raises EmptyTextError,
        InputTooLongError for a text that does not fit the context, and CancelledError soon
        after `cancel` is set.
        """
        self.check_generates()
        tokens = self.prefix_tokens(text)
        key_values = self._generator.prefill(tokens, progress, cancel)
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
        answer = Answer(self._generator, tokens, raw_options(**options), document=document)
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
        """Answer a chat: messages are mappings of `role` and `content` (see `Message`).

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

    @property
    def generates(self) -> bool:
        """Whether the file can generate, rather than only embed."""
        return can_generate(self.file.metadata) and not self._embeds_only

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
