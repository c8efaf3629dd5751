"""`Store`: documents on disk, cut and embedded, that can be searched and answered from.

One SQLite file holds everything but key-value states, which stand in a folder
beside it. One process at a time may add; any number may
search meanwhile, and see each file as it was or as it is, never half of it.
"""

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, Unpack, get_args

from gritlite.errors import EmptyTextError, FileError, UsageError
from gritlite.modelfile.memory import kv_bytes_per_token
from gritlite.prompt import QUESTION_FIELD
from gritlite.rag import layouts
from gritlite.rag.answer import StoreAnswer, Timings
from gritlite.rag.cost_model import CostModel, cheapest
from gritlite.rag.database import Database, check_there
from gritlite.rag.extra import require_rag
from gritlite.rag.folder import listing
from gritlite.rag.indexing import Changes, Indexing, Pending, Progress
from gritlite.rag.layouts import AUTO, LAYOUTS, READ, Layout, LayoutChoice, Sources, StateKind
from gritlite.rag.paths import StorePaths
from gritlite.rag.reranking import reranked
from gritlite.rag.search import Mode, Passage, Searcher
from gritlite.rag.settings import Settings, StateTypeOrNone
from gritlite.rag.state_files import StateFiles, StateUsage
from gritlite.rag.state_quantization import SHARE_OF_F16, StateType
from gritlite.rag.state_source import StateSource
from gritlite.rag.states import States
from gritlite.rag.vectors import VectorType, check_vector_type
from gritlite.rag.write_lock import writing
from gritlite.runtime.embed import Vectors
from gritlite.runtime.model import GritLM, warn_dropped
from gritlite.runtime.options import ChatOptions
from gritlite.runtime.state import DocumentState
from gritlite.runtime.template import Message

CHUNK_TOKENS = 256
_LEAST_CHUNK = 32
_TRIAL_TOKENS = 512  # whose embedding is timed for a plan


@dataclass(frozen=True)
class Update:
    """What `read` found: changes of the files, and files in folders that are no documents."""

    changes: Changes
    skipped: dict[str, int]


@dataclass(frozen=True)
class Plan:
    """What is left to embed, the seconds that it may take, and the bytes of the states kept."""

    pending: Pending
    seconds: float
    state_bytes: int


class Store:
    """A store, and the model that embeds for it. Thread-safe; use it as a context manager.

    `open` makes one.
    """

    def __init__(self, path: Path, model: GritLM, settings: Settings, database: Database) -> None:
        self.path = path
        self.model = model
        self.settings = settings
        self._database = database  # writing has a connection of its own, and searches go on
        self._places = StorePaths(path.parent)
        self._states = self._states_in(database)
        self._costs = CostModel(database)
        self._searching = Searcher(database, self._places, settings.vectors)
        self._turn = threading.RLock()

    @classmethod
    def open(
        cls,
        path: str | Path,
        model: GritLM,
        *,
        create: bool = True,
        vectors: VectorType | None = None,
        chunk_tokens: int | None = None,
        states: StateTypeOrNone | None = None,
        states_budget: int | None = None,
    ) -> Self:
        """Open a store, or make one if there is none and `create` is true.

        `vectors` is the form in which vectors are kept (float32 by default),
        `chunk_tokens` the size of a chunk (256), `states` the number format of the
        chunks' key-value states ("none", the default, keeps none) and `states_budget`
        the most bytes of these; all are chosen when a store is made. The model stays
        the caller's to close.

        Raises FileError where there is no store or it cannot be used, FormatError
        for a file that is none or of a newer format, and UsageError for a store of
        another model or with other settings than those given, and MissingExtraError.
        """
        require_rag("a store")
        path = Path(path)
        if vectors is not None:
            check_vector_type(vectors)
        if states is not None and states not in (*get_args(StateType), "none"):
            raise UsageError(f"states are {states!r}: expected none, f16, q8_0 or q4_0")
        if states_budget is not None and states_budget < 1:
            raise UsageError(f"states_budget is {states_budget}: expected 1 byte or more")
        _check_chunk_tokens(chunk_tokens, model)
        if path.exists() and not path.is_file():
            raise FileError(f"{path} is no file: name the file of a store")
        if not create:
            check_there(path)
        if not path.exists():
            if not path.parent.is_dir():
                raise FileError(f"the folder {path.parent} does not exist: create it first")
            if states_budget is not None and states in (None, "none"):
                raise UsageError("a budget for states, and none are kept: choose their numbers too")
        database = Database(path)
        try:
            chosen = Settings(
                model=str(model.path),
                fingerprint=model.fingerprint,
                vectors=vectors or "float32",
                chunk_tokens=chunk_tokens or min(CHUNK_TOKENS, model.max_length // 2),
                states=states or "none",
                states_budget=states_budget or 0,
            )
            settings = chosen.settle(database)
            given = {
                "vectors": vectors,
                "chunk_tokens": chunk_tokens,
                "states": states,
                "states_budget": states_budget,
            }
            _check_same(path, settings, model, given)
            return cls(path, model, settings, database)
        except BaseException:
            database.close()
            raise

    def scan(self, *paths: str | Path, progress: Progress = lambda *_: None) -> Update:
        """Read files, and folders at any depth: what is new or changed is cut, not yet embedded.

        Files that were in these folders, or are named, and are gone are forgotten. What
        cannot be read is told in the result and keeps what the store has of it. Raises
        FileError for a path that is neither there nor known, or while another process adds.
        """
        ends = ("", "-wal", "-shm", ".lock", ".states")
        wanted = [Path(path) for path in paths]
        gone = {path for path in wanted if not path.exists() and self._knows(path)}
        found = listing(
            [path for path in wanted if path not in gone],
            besides=[Path(f"{self.path}{end}") for end in ends],
        )
        with self._writing() as indexing:
            changes = indexing.read(found, gone, self.settings.chunk_tokens, progress)
        return Update(changes, found.skipped)

    def _knows(self, path: Path) -> bool:
        """Whether a file is in the store, be it there or not."""
        with self._turn:
            return (self._places.name(path),) in self._database.rows("select path from source")

    def plan(self) -> Plan:
        """What is left to embed, and how long it may take on this machine now."""
        with self._turn:
            indexing = Indexing(self._database, self._places, self.model, self._states)
            pending = indexing.pending()
            trial = indexing.first_pending(_TRIAL_TOKENS)
            state_bytes = self._state_bytes(pending)
        if not trial:
            return Plan(pending, 0.0, 0)
        self.model.encode(trial[0].embedded, max_length=None)  # the first pass takes longer
        start = time.perf_counter()
        self.model.encode([chunk.embedded for chunk in trial], max_length=None)
        spent = time.perf_counter() - start
        seconds = spent / sum(chunk.tokens for chunk in trial) * pending.tokens
        return Plan(pending, seconds, state_bytes)

    def _state_bytes(self, pending: Pending) -> int:
        """Of the states that will be kept, without their heads."""
        if self._states is None or self.settings.states == "none":
            return 0
        prompt = len(self.model.embed_tokens("a")[0]) - len(self.model.tokenize("a"))
        tokens = pending.tokens + pending.chunks * prompt
        each = kv_bytes_per_token(self.model.file) * SHARE_OF_F16[self.settings.states]
        return int(min(tokens * each, self._states.budget))

    def embed(self, *, progress: Progress = lambda *_: None) -> None:
        """Embed what was read; `progress` counts tokens. A run that was killed is gone on with."""
        with self._writing() as indexing:
            indexing.embed(self.settings.vectors, progress)

    def add(self, *paths: str | Path) -> Update:
        """`read` and `embed`: bring the store up to date with files and folders."""
        update = self.scan(*paths)
        self.embed()
        return update

    def ask(
        self,
        question: str,
        count: int = 3,
        *,
        history: Sequence[Message] = (),
        layout: LayoutChoice = "document-then-query",
        recompute: int = 0,
        mode: Mode = "hybrid",
        rerank: int = 0,
        instruction: str = "",
        wording: str = QUESTION_FIELD,
        stream: bool = False,
        **options: Unpack[ChatOptions],
    ) -> StoreAnswer:
        """Answer a question from the `count` passages that suit it best, which is read last.

        The answer that is returned is whole; with `stream` it is to be iterated over, and
        to be closed unless it is read to its end.

        `layout` says what is read and what comes from stored states (`layouts`
        describes them), and "auto" takes `exact` or `document-then-query`, whichever is
        expected to be faster. A state that is not stored is computed, and kept if the store
        keeps states. `recompute` is that of `GritLM.join_states`. `history` are messages of
        a chat before the question; passages are found for the question alone. `wording` is how
        the question is put where it is read, with it at `{question}`. `mode`,
        `rerank` and `instruction` are those of `search`, other options those of
        `GritLM.chat`; by default the likeliest token is always taken.

        Raises UsageError for an unknown layout and for a store without documents,
        EmptyTextError, and InputTooLongError when passages and question do not fit
        the context.
        """
        if layout not in (*LAYOUTS, AUTO):
            raise UsageError(f"layout is {layout!r}: expected {AUTO} or {', '.join(LAYOUTS)}")
        if history and layout not in (AUTO, *READ):
            raise UsageError(f"the layout {layout} has no place behind a chat's past: read it")
        if recompute < 0:
            raise UsageError(f"recompute is {recompute}: expected 0 tokens or more")
        question = question.strip()  # a space before it would be one token with the lines before
        asked = time.perf_counter()
        vector, query_state = self._embedded_query(question, instruction)
        passages = self._found(question, vector, count, mode, rerank)
        if not passages:
            raise UsageError(f"nothing was found in {self.path}: index documents that tell of it")
        found = time.perf_counter() - asked
        read = passages[::-1]  # a model heeds most what stands last, so the best does
        if layout == AUTO:  # an opening has no place behind a chat's past
            layout = "document-then-query" if history else self._cheapest(read, recompute)
        gathered = StateSource(self.model, self._states, self._costs, self._turn, read)
        prompt = layouts.prompt(
            layout,
            Sources(
                wording.replace(QUESTION_FIELD, question),
                [passage.embedded for passage in read],
                gathered.states,
                query_state,
                partial(self.model.join_states, recompute=recompute),
            ),
        )
        chosen: ChatOptions = {"temperature": 0, **options}
        answer = self.model.chat(
            [*history, {"role": "user", "content": prompt.content}],
            stream=True,
            document=prompt.document,
            wording=prompt.wording,
            **chosen,
        )
        result = StoreAnswer(
            answer,
            passages,
            layout,
            asked=asked,
            timings=Timings(found, time.perf_counter() - asked),
            states_loaded=gathered.loaded,
            states_computed=gathered.computed,
        )
        if not stream:
            result.read()
            warn_dropped(result.dropped, self.model.context_length)
        return result

    def _cheapest(self, passages: Sequence[Passage], recompute: int) -> Layout:
        """The layout that "auto" stands for."""
        if self._states is None:
            return "document-then-query"
        with self._turn:
            knows = self._states.ledger.knows
            found = [
                (len(self.model.tokenize(passage.embedded)), knows(passage.chunk, "exact"))
                for passage in passages
            ]
            return cheapest(self._costs, found, recompute)

    def _embedded_query(self, question: str, instruction: str) -> tuple[Vectors, DocumentState]:
        """A question's vector [d] and state, of one pass."""
        states: list[DocumentState] = []
        prompt = self.model.format.with_instruction(instruction)
        (vectors,) = self.model.encode_stream(
            [question], instruction=prompt, keep=lambda _, state: states.append(state)
        )
        return vectors[0], states[0]

    def search(
        self,
        query: str,
        count: int = 5,
        *,
        mode: Mode = "hybrid",
        rerank: int = 0,
        instruction: str = "",
    ) -> list[Passage]:
        """The `count` passages that suit a query best, best first.

        `mode` is "vectors" (meaning), "words" (BM25) or both. Of these, `rerank` passages
        are put into the order of the model's own likelihood of the query after each,
        which reads them all; 0 leaves the order. `instruction` are plain words that say
        what the query is embedded for. Raises EmptyTextError for an empty query, and
        InputTooLongError for one that no pass can hold.
        """
        vector = None
        if mode != "words":
            prompt = self.model.format.with_instruction(instruction)
            vector = self.model.encode(query, instruction=prompt, max_length=None)
        return self._found(query, vector, count, mode, rerank)

    def _found(
        self, query: str, vector: Vectors | None, count: int, mode: Mode, rerank: int
    ) -> list[Passage]:
        if not query.strip():
            raise EmptyTextError("the query is empty")
        if count < 1:
            raise UsageError(f"count is {count}: expected 1 or more")
        if rerank and rerank < count:
            raise UsageError(f"rerank is {rerank}: expected {count} passages or more, or 0")
        with self._turn:
            passages = self._searching.search(query, vector, max(count, rerank), mode)
        if rerank:
            passages = reranked(self.model, query, passages)
        return passages[:count]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Indexing]:
        """Be the one that adds; states that belong to no chunk any more go afterwards."""
        with writing(self.path), contextlib.closing(Database(self.path)) as database:
            states = self._states_in(database)
            yield Indexing(database, self._places, self.model, states)
            if states is not None:
                states.ledger.sweep()

    def _states_in(self, database: Database) -> States | None:
        settings = self.settings
        if settings.states == "none":
            return None
        ledger = StateFiles(self.path, database)
        return States(ledger, self.model, settings.states, settings.states_budget or math.inf)

    def state_usage(self, kind: StateKind | None = None) -> StateUsage:
        """The states of a kind, or all: how many there are, and the bytes of their files."""
        with self._turn:
            return StateUsage(0, 0) if self._states is None else self._states.ledger.usage(kind)

    def close(self) -> None:
        """Close the file. The model stays open."""
        with self._turn:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_chunk_tokens(chunk_tokens: int | None, model: GritLM) -> None:
    most = model.max_length // 2
    if chunk_tokens is not None and not _LEAST_CHUNK <= chunk_tokens <= most:
        raise UsageError(f"chunk_tokens is {chunk_tokens}: expected {_LEAST_CHUNK} to {most}")


def _check_same(
    path: Path, settings: Settings, model: GritLM, given: Mapping[str, str | int | None]
) -> None:
    if settings.fingerprint != model.fingerprint:
        raise UsageError(
            f"{path} was made with another model ({settings.model}): use that one, or index "
            "into a new store"
        )
    for name, wanted in given.items():
        kept = getattr(settings, name)
        if wanted is not None and wanted != kept:
            raise UsageError(
                f"{path} was made with {name} {kept}, which cannot be changed: index into a new "
                f"store for {wanted}"
            )
