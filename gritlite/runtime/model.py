"""`GritLM`: one loaded file that embeds and generates.

Two contexts share one copy of the weights (docs/switching.md says why), so an
embedding request in the middle of a chat does not touch the chat's state.
"""

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, overload
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import (
    ClosedError,
    EmptyTextError,
    InputError,
    MissingExtraError,
    TruncationWarning,
    UsageError,
)
from gritlite.modelfile.check import check_model
from gritlite.modelfile.fingerprint import fingerprint
from gritlite.modelfile.header import GGUFFile, read_header
from gritlite.modelfile.memory import PASS_TOKENS, embed_memory
from gritlite.prompt import BEHIND_TEXT, CACHED_QUESTION, EmbedFormat
from gritlite.runtime import probe
from gritlite.runtime.chat import Chat
from gritlite.runtime.document import Document, DocumentState, joined
from gritlite.runtime.embed import Embedder, EmbedOptions, TooLong, Vectors
from gritlite.runtime.generate import Answer, Engine, GenerateOptions
from gritlite.runtime.grammar import check_grammar, from_json_schema
from gritlite.runtime.llama import SamplingOptions, Weights
from gritlite.runtime.llama.editing import WeightEditor
from gritlite.runtime.llama.hidden_states import Watch
from gritlite.runtime.llama.weights import GpuLayers
from gritlite.runtime.observer import Observer
from gritlite.runtime.scheduler import Turns
from gritlite.runtime.score import LogProbabilities, Scorer
from gritlite.runtime.template import ChatTemplate, Message
from gritlite.runtime.tokens import TextTokens
from gritlite.system.locate import locate
from gritlite.system.threads import default_threads

DEFAULT_CONTEXT = 4096
_WORD = "a"
MAX_PASS_TOKENS = 8192  # an embedding pass holds a logit buffer of vocabulary x tokens


class GritLM:
    """A model file that embeds and generates. Thread-safe; use it as a context manager.

    `model` is the path of a GGUF file or the name of a pulled model.
    `context_length` is the number of tokens a chat can hold (default: the
    model's, at most 4,096). `threads` defaults to the physical cores.
    `gpu_layers` is a number, "all" or "auto". `pass_tokens` is the size of a
    packed embedding pass. An `editable` model has its weights in memory of its own,
    for `replace_weight`.

    Raises FileError, FormatError, ArchitectureError or TokenizerError for a file
    that cannot be used, DeviceError for GPU layers without a GPU, LibraryError
    when llama.cpp cannot run on this processor, and OutOfMemoryError.
    """

    def __init__(
        self,
        model: str | Path = "default",
        *,
        context_length: int | None = None,
        threads: int | None = None,
        gpu_layers: GpuLayers = "auto",
        pass_tokens: int = PASS_TOKENS,
        editable: bool = False,
    ) -> None:
        _check_counts(context_length=context_length, threads=threads, pass_tokens=pass_tokens)
        self.path = locate(str(model))
        self.file: GGUFFile = read_header(self.path)
        check_model(self.file)
        self.format = EmbedFormat.from_metadata(self.file.metadata)
        self.fingerprint = fingerprint(self.file)
        verdict = probe.ensure_safe()
        self._weights = Weights(
            self.path, gpu_layers=gpu_layers, repack=verdict.repack, editable=editable
        )
        turns = Turns()
        threads = self.threads = threads or default_threads()
        trained = self._weights.n_ctx_train
        self.context_length = context_length or min(trained, DEFAULT_CONTEXT)
        self._engine = Engine(self._weights, turns, n_ctx=self.context_length, threads=threads)
        self._scorer = Scorer(self._weights, turns, n_ctx=self.context_length, threads=threads)
        self._embedder = Embedder(
            self._weights,
            self.format,
            turns,
            threads=threads,
            pass_tokens=pass_tokens,
            max_tokens=min(trained, MAX_PASS_TOKENS),
            memory_need=lambda tokens: embed_memory(self.file, tokens).without_weights,
        )
        self._chat: Chat | None = None
        self._editor: WeightEditor | None = None
        self._chat_lock = threading.Lock()
        self._closed = False

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self._weights.n_embd

    @property
    def max_length(self) -> int:
        """The most tokens, prompt and BOS included, that one embedding pass can hold."""
        return self._embedder.max_tokens

    @property
    def bos(self) -> int | None:
        """The token that begins every input, None where the file asks for none."""
        return self._weights.bos if self._weights.adds_bos else None

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a plain text, without BOS; nothing in it becomes a control token."""
        self._check_open()
        return [int(token) for token in self._embedder.tokenizer.plain(text)]

    def embed_tokens(
        self, text: str, *, instruction: str = "", max_length: int | None = None
    ) -> list[list[int]]:
        """What `encode` makes of a text: token ids, prompt and BOS first.

        A text of more than `max_length` tokens comes in pieces of that length,
        each behind the prompt. Raises EmptyTextError.
        """
        self._check_open()
        options = EmbedOptions(instruction or None, max_length=max_length, too_long="chunk")
        (pieces,) = self._embedder.pieces([text], options)
        return [piece.ids.tolist() for piece in pieces]

    def chat_tokens(self, messages: Sequence[Message]) -> list[int]:
        """What `chat` makes of messages: token ids, up to where the next answer begins.

        Raises UsageError for messages that are none or that the template refuses.
        """
        self._check_open()
        return self._chats().tokens(messages)

    def observer(self, watch: Watch, *, causal: bool, pass_tokens: int) -> Observer:
        """Passes of their own over this model, in which `watch` sees what goes into each matrix.

        Close it before the model.
        """
        self._check_open()
        return Observer(
            self._weights, watch, causal=causal, pass_tokens=pass_tokens, threads=self.threads
        )

    def replace_weight(self, tensor: str, data: NDArray[np.uint8]) -> None:
        """Put other bytes into a tensor of an `editable` model, to see what that does.

        `data` are all of its bytes in its own type. Not for use beside other
        threads. Raises UsageError for a tensor that the model does not have or use,
        and for another number of bytes.
        """
        self._check_open()
        size = next((info.size for info in self.file.tensors if info.name == tensor), None)
        if size is not None and data.nbytes != size:
            raise UsageError(f"{tensor} has {size:,} bytes, not {data.nbytes:,}")
        if self._editor is None:
            self._editor = WeightEditor(self._weights)
        self._editor.replace(tensor, data)
        self.fingerprint = f"edited {uuid4().hex}"  # its states suit no other model
        self._engine.forget()
        self._scorer.forget()

    def encode(
        self,
        sentences: list[str] | str,
        batch_size: int = 256,
        max_length: int | None = 512,
        instruction: str = "",
        embed_instruction: bool = False,
        get_cache: bool = False,
        convert_to_tensor: bool = False,
        recast: bool = False,
        add_special_tokens: bool = True,
        *,
        cancel: threading.Event | None = None,
        **ignored: object,
    ) -> Any:
        """Embed texts, with the signature and numbers of the official `gritlm.GritLM.encode`.

        Returns float32 [n, dimension], unit length; [dimension] for a single
        string; a torch tensor if `convert_to_tensor`. `instruction` is the
        formatted prompt (`gritlite.instruction` makes it from plain words);
        without one the file's own document prompt is used. Its tokens are left
        out of the mean unless `embed_instruction`. Texts are cut to
        `max_length` tokens, prompt included, with a TruncationWarning; None
        means never to cut. `batch_size` and `recast` are accepted for code
        written for the official package: passes are packed by tokens, and
        vectors are float32 already.

        Raises EmptyTextError and InputTooLongError with the number of the text,
        and CancelledError within one pass of `cancel` being set.
        """
        del batch_size, recast
        if ignored:
            names = ", ".join(sorted(ignored))
            warnings.warn(f"encode() knows no {names}: ignored", stacklevel=2)
        if get_cache:
            raise UsageError("get_cache is not supported: document_state gives a text's state")
        single = isinstance(sentences, str)
        texts = [sentences] if isinstance(sentences, str) else list(sentences)
        options = EmbedOptions(
            prompt=instruction or None,
            embed_instruction=embed_instruction,
            add_bos=add_special_tokens,
            max_length=max_length,
            too_long="error" if max_length is None else "truncate",
        )
        cut = threading.Event()
        parts = list(self._stream(texts, options, cancel, cut))
        if cut.is_set():
            warnings.warn(
                f"texts were cut to {min(max_length or self.max_length, self.max_length)} tokens: "
                "pass max_length=None to forbid it",
                TruncationWarning,
                stacklevel=2,
            )
        vectors = np.concatenate(parts) if parts else np.empty((0, self.dimension), np.float32)
        result = vectors[0] if single else vectors
        return _to_tensor(result) if convert_to_tensor else result

    def encode_queries(self, queries: list[str] | str, **options: Any) -> Any:
        """`encode`, by the name that retrieval evaluations call for queries."""
        return self.encode(queries, **options)

    def encode_corpus(
        self,
        corpus: str | list[str] | Mapping[str, str] | list[Mapping[str, str]],
        **options: Any,
    ) -> Any:
        """`encode` for documents: texts, or mappings with `text` and perhaps `title`."""
        if isinstance(corpus, str):
            return self.encode(corpus, **options)
        documents: Sequence[str | Mapping[str, str]] = (
            [corpus] if isinstance(corpus, Mapping) else corpus
        )
        texts = [_document_text(document, index) for index, document in enumerate(documents)]
        return self.encode(texts, **options)

    def encode_stream(
        self,
        texts: Iterable[str],
        *,
        instruction: str = "",
        max_length: int | None = None,
        too_long: TooLong = "error",
        cancel: threading.Event | None = None,
        on_cut: threading.Event | None = None,
        keep: Callable[[int, DocumentState], None] | None = None,
    ) -> Iterator[Vectors]:
        """Embed any number of texts in bounded memory.

        Yields float32 [k, dimension] in the order of the texts, k varying. A
        text over `max_length` tokens (default: what one pass can hold) is an
        error, or is cut ("truncate", which sets `on_cut`), or is embedded in
        pieces of that length whose token-weighted mean is taken ("chunk").

        `keep` is given the number of each text, from 0, and the state that its pass
        left, before its vector is yielded. Raises UsageError for `keep` with "chunk".
        """
        if keep is not None and too_long == "chunk":
            raise UsageError("a text that is embedded in chunks has no single state to keep")
        options = EmbedOptions(instruction or None, max_length=max_length, too_long=too_long)
        return self._stream(texts, options, cancel, on_cut, keep)

    def check(
        self,
        texts: Iterable[str],
        *,
        instruction: str = "",
        max_length: int | None = None,
        too_long: TooLong = "error",
    ) -> int:
        """Raise what `encode_stream` would raise for a text, without embedding any.

        Returns the number of texts. Tokenizing takes a thousandth of the time
        of embedding, so a long job is worth checking first.
        """
        self._check_open()
        options = EmbedOptions(instruction or None, max_length=max_length, too_long=too_long)
        return sum(1 for _ in self._embedder.pieces(texts, options))

    def _stream(
        self,
        texts: Iterable[str],
        options: EmbedOptions,
        cancel: threading.Event | None,
        on_cut: threading.Event | None,
        keep: Callable[[int, DocumentState], None] | None = None,
    ) -> Iterator[Vectors]:
        self._check_open()

        def kept(number: int, tokens: TextTokens, cells: bytes) -> None:
            assert keep is not None
            state = DocumentState(
                ids=tuple(tokens.ids.tolist()),
                head=tokens.start,
                attention=self.format.attention,
                model=self.fingerprint,
                opens_message=False,
                data=cells,
            )
            keep(number, state)

        return self._embedder.stream(
            texts, options, cancel=cancel, on_cut=on_cut, keep=kept if keep else None
        )

    def score(
        self, tokens: Sequence[int], start: int = 1, *, cancel: threading.Event | None = None
    ) -> LogProbabilities:
        """Natural log-probability of each of `tokens[start:]` after all that stand before it.

        float32 [n - start], under causal attention. What the tokens begin with
        like those of the last call is not evaluated again. Raises UsageError
        for a `start` below 1 or past the end, InputTooLongError for more tokens
        than `context_length`, and CancelledError within one pass of `cancel`
        being set.
        """
        self._check_open()
        return self._scorer.score(tokens, start, cancel)

    def logits(
        self, tokens: Sequence[int], start: int = 1, *, cancel: threading.Event | None = None
    ) -> NDArray[np.float32]:
        """Logits of what could stand in the place of each of `tokens[start:]`.

        float32 [n - start, vocabulary]: a long input needs much memory. Raises as `score`.
        """
        self._check_open()
        return self._scorer.logits(tokens, start, cancel)

    def score_text(
        self, prompt: str, continuation: str, *, cancel: threading.Event | None = None
    ) -> LogProbabilities:
        """`score` for the tokens of a continuation of a raw prompt, float32 [its tokens].

        Prompt and continuation become tokens apart, so that those of the prompt
        are the same for every continuation; a word's space belongs to the word.
        Raises EmptyTextError where either has no tokens, and as `score`.
        """
        self._check_open()
        before = self._with_bos(prompt)
        after = self._embedder.tokenizer.plain(continuation, continues=bool(prompt)).tolist()
        if not before or not after:
            raise EmptyTextError(
                f"the {'continuation' if before else 'prompt'} is empty: there is nothing to score"
            )
        return self._scorer.score(before + after, len(before), cancel)

    def score_answer(
        self,
        messages: Sequence[Message],
        answer: str,
        *,
        cancel: threading.Event | None = None,
    ) -> LogProbabilities:
        """`score` for the tokens of an answer to messages, float32 [its tokens].

        Raises EmptyTextError for an answer without tokens, UsageError for messages that
        are none, and as `score`.
        """
        before = self.chat_tokens(messages)
        after = self._embedder.tokenizer.plain(answer, continues=True).tolist()
        if not after:
            raise EmptyTextError("the answer is empty: there is nothing to score")
        return self._scorer.score(before + after, len(before), cancel)

    def clear_cache(self) -> None:
        """Forget what was read for the last answer, so that the next reads everything anew."""
        self._check_open()
        self._engine.forget()

    @property
    def evaluated(self) -> int:
        """The tokens evaluated for answers and openings since the model was loaded."""
        return self._engine.evaluated

    def document_state(self, text: str) -> DocumentState:
        """The key-value state that a document's embedding pass leaves, for `chat` and `generate`.

        The text stands behind the file's document prompt, and its tokens see
        each other as in `encode`. Raises EmptyTextError, and InputTooLongError
        for a text that one pass cannot hold.
        """
        self._check_open()
        states: list[DocumentState] = []
        for _ in self.encode_stream([text], keep=lambda _, state: states.append(state)):
            pass
        return states[0]

    def join_states(self, states: Sequence[DocumentState], *, recompute: int = 0) -> Document:
        """Several documents' states one behind the other, for `chat` and `generate`.

        Keys are rotated to their new positions, so that no two documents overlap; the
        BOS token of the first stands for all. The first `recompute` tokens of each but
        the first are read anew, seeing the documents before (as LegoLink of EPIC, arXiv
        2410.15332); of `prefix_state` its whole length makes the cells those of a full
        prefill.
        Raises UsageError for no states, or for those of different models or kinds.
        """
        return joined(states, bos=0 if self.bos is None else 1, recompute=recompute)

    def prefix_tokens(self, text: str) -> list[int]:
        """The tokens of a chat up to the blank line behind a text that begins its first message.

        Raises EmptyTextError.
        """
        self._check_open()
        if not text:
            raise EmptyTextError("the text is empty: there is nothing to read")
        # line ends become other tokens before a word than at the end
        tokens = self._embedder.tokenizer.plain(text + BEHIND_TEXT + _WORD, continues=True)
        word = self._embedder.tokenizer.plain(_WORD, continues=True)
        return [*self._chats().opening(), *tokens[: -len(word)].tolist()]

    def prefix_state(self, text: str) -> DocumentState:
        """The state of a text read causally at the beginning of a user's message.

        A chat that goes on from it answers as one whose first message begins with the
        text and a blank line; where the rest begins with a space too, that would have been
        one token with the line before and is another here. Raises EmptyTextError, and
        InputTooLongError for a text that the context cannot hold.
        """
        tokens = self.prefix_tokens(text)
        data = self._engine.state(tokens)
        return DocumentState(
            ids=tuple(tokens),
            head=len(self._chats().opening()),
            attention="causal",
            model=self.fingerprint,
            opens_message=True,
            data=data,
        )

    @overload
    def generate(
        self,
        prompt: str,
        *,
        stream: Literal[False] = False,
        document: Document | None = None,
        **options: Any,
    ) -> str: ...
    @overload
    def generate(
        self,
        prompt: str,
        *,
        stream: Literal[True],
        document: Document | None = None,
        **options: Any,
    ) -> Answer: ...
    def generate(
        self,
        prompt: str,
        *,
        stream: bool = False,
        document: Document | None = None,
        **options: Any,
    ) -> str | Answer:
        """Continue a raw prompt. Takes `chat`'s options.

        No template is applied and nothing in the prompt becomes a control
        token; the BOS token is added where the file asks for it. With a
        `document` the prompt follows its text as it stands. Returns the text,
        or with `stream` an Answer that yields its pieces.
        """
        self._check_open()
        if document is None:
            tokens = self._with_bos(prompt)
        else:
            self._check_document(document)
            tokens = self._embedder.tokenizer.plain(prompt, continues=True).tolist()
        answer = Answer(self._engine, tokens, _generate_options(**options), document=document)
        return answer if stream else "".join(answer)

    def _with_bos(self, prompt: str) -> list[int]:
        bos = [] if self.bos is None else [self.bos]
        return bos + self.tokenize(prompt)

    @overload
    def chat(
        self,
        messages: Sequence[Message],
        *,
        stream: Literal[False] = False,
        document: Document | None = None,
        wording: str = CACHED_QUESTION,
        **options: Any,
    ) -> str: ...
    @overload
    def chat(
        self,
        messages: Sequence[Message],
        *,
        stream: Literal[True],
        document: Document | None = None,
        wording: str = CACHED_QUESTION,
        **options: Any,
    ) -> Answer: ...
    def chat(
        self,
        messages: Sequence[Message],
        *,
        stream: bool = False,
        document: Document | None = None,
        wording: str = CACHED_QUESTION,
        **options: Any,
    ) -> str | Answer:
        """Answer a chat: messages are mappings of `role` (system, user, assistant) and `content`.

        Options: `max_tokens`, `temperature` (0 is greedy), `top_k`, `top_p`,
        `min_p`, `repeat_penalty`, `seed`, `stop` (strings), `grammar` (GBNF)
        or `json_schema`. Returns the text, or with `stream` an Answer that
        yields its pieces and can be cancelled from any thread. Only tokens
        that the last chat did not hold are evaluated. When the context is
        full the oldest turns are left out (Answer.dropped says how many
        messages), and without `stream` a warning says so.

        With a `document` (see `document_state`, `prefix_state`, `join_states`) the
        chat is about a text that is not read again: it follows the document's state,
        and `wording` is how each user message asks, with it at `{question}`.

        Raises UsageError for bad options or messages or a state of another
        model, InputTooLongError when the last message alone does not fit.
        """
        self._check_open()
        if document is not None:
            self._check_document(document)
        answer = self._chats().answer(messages, _generate_options(**options), document, wording)
        if stream:
            return answer
        text = "".join(answer)
        warn_dropped(answer.dropped, self.context_length)
        return text

    def _chats(self) -> Chat:
        with self._chat_lock:
            if self._chat is None:
                metadata = self.file.metadata
                source = metadata.get("tokenizer.chat_template")
                template = ChatTemplate(
                    self._weights,
                    str(source) if source is not None else None,
                    bos=self._weights.control_spelling(self._weights.bos),
                    eos=self._weights.control_spelling(self._weights.eos),
                )
                self._chat = Chat(self._engine, template)
            return self._chat

    def _check_document(self, document: Document) -> None:
        if document.model != self.fingerprint:
            raise UsageError(
                f"the document state is of another model than {self.path}: make it with this one"
            )

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError

    def close(self) -> None:
        """Free the contexts and the weights, after the pass or token in progress."""
        if not self._closed:
            self._closed = True
            self._engine.close()
            self._scorer.close()
            self._embedder.close()
            self._weights.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def warn_dropped(count: int, context_length: int) -> None:
    """Warn the caller's caller that the oldest messages had no part in an answer, if so."""
    if count:
        warnings.warn(
            f"the context of {context_length} tokens is full: the oldest {count} messages were "
            "left out",
            TruncationWarning,
            stacklevel=3,
        )


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}: expected 1 or more")


def _document_text(document: str | Mapping[str, str], index: int) -> str:
    if not isinstance(document, Mapping):
        return document
    if "text" not in document:
        raise InputError("the document has no 'text'", index)
    return f"{document['title']} {document['text']}" if "title" in document else document["text"]


def _to_tensor(vectors: Vectors) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "torch", "convert_to_tensor") from error
    return torch.from_numpy(vectors)


def _generate_options(
    *,
    max_tokens: int | None = None,
    stop: str | Sequence[str] = (),
    temperature: float = 0.7,
    top_k: int = 40,
    top_p: float = 0.95,
    min_p: float = 0.05,
    repeat_penalty: float = 1.0,
    seed: int | None = None,
    grammar: str | None = None,
    json_schema: Mapping[str, Any] | str | None = None,
) -> GenerateOptions:
    if grammar is not None and json_schema is not None:
        raise UsageError("grammar and json_schema exclude each other: pass one")
    if json_schema is not None:
        grammar = from_json_schema(json_schema)
    if grammar is not None:
        check_grammar(grammar)
    sampling = SamplingOptions(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repeat_penalty=repeat_penalty,
        seed=_random_seed() if seed is None else seed,
        grammar=grammar,
    )
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    return GenerateOptions(sampling, max_tokens, stops)


def _random_seed() -> int:
    return int(np.random.default_rng().integers(2**32 - 1))
