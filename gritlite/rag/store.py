"""`Store`: documents on disk, cut and embedded, that can be searched and answered from.

One SQLite file holds everything but key-value states, which are files in a folder beside
it. One process at a time may add documents. Any number may search meanwhile, and see each
document as it was before or as it is after, never half of it.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, Unpack

from gritlite.errors import FileError, UsageError
from gritlite.prompt import QUESTION_FIELD
from gritlite.rag.answer import StoreAnswer
from gritlite.rag.asking import Pipeline, Question
from gritlite.rag.condition import Condition, read_condition
from gritlite.rag.cost_model import CostModel
from gritlite.rag.database import Database, check_location
from gritlite.rag.document import ReadingOptions, check_encoding
from gritlite.rag.embedding import count_pending, embed_pending, first_pending, place_of
from gritlite.rag.extra import require_main_text, require_rag
from gritlite.rag.folder import is_empty, list_documents
from gritlite.rag.layouts import LayoutChoice, StateKind
from gritlite.rag.migrations import open_database
from gritlite.rag.min_scores import measured_min_score
from gritlite.rag.paths import StorePaths
from gritlite.rag.planning import SAMPLE_TOKENS, Plan, estimate
from gritlite.rag.retrieval import Query, Retriever
from gritlite.rag.roots import record_roots
from gritlite.rag.scanning import Changes, Scanner
from gritlite.rag.search import Mode, Passage, Searcher
from gritlite.rag.settings import RequestedSettings, Settings, StateTypeOrNone
from gritlite.rag.sources import stored_paths
from gritlite.rag.state_files import StateFiles, StateUsage
from gritlite.rag.states import States
from gritlite.rag.vectors import VectorType
from gritlite.rag.write_lock import write_lock
from gritlite.runtime.located_errors import located_errors
from gritlite.runtime.model import GritLM, warn_dropped
from gritlite.runtime.options import ChatOptions
from gritlite.runtime.template import Message
from gritlite.system.progress import ProgressCallback, no_progress
from gritlite.system.wording import counted

_SUFFIXES = ("", "-wal", "-shm", ".lock", ".states")  # of a store's own files


@dataclass(frozen=True)
class Update:
    """What a scan found: changed documents, and how many files of other formats, by suffix."""

    changes: Changes
    skipped: dict[str, int]


class Store:
    """A store, and the model that embeds for it. Thread-safe; use it as a context manager.

    `Store.open` makes one.
    """

    def __init__(self, path: Path, model: GritLM, settings: Settings, database: Database) -> None:
        self.path = path
        self.model = model
        self.settings = settings
        self._database = database  # writing has its own connection, so searches go on
        self._lock = threading.RLock()
        self._paths = StorePaths(path.parent)
        self._states = self._states_in(database)
        self._cost_model = CostModel(database)
        self._searcher = Searcher(database, self._paths, settings.vectors, model.dimension)
        self._retriever = Retriever(model, self._searcher, self._lock)
        self._pipeline = Pipeline(
            model, self._retriever, self._states, self._cost_model, self._lock
        )

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
        main_text: bool | None = None,
    ) -> Self:
        """Open a store, or create one if there is none and `create` is true.

        Five settings are chosen when a store is created and stay: `vectors`, the type of
        stored vectors (float32 by default), `chunk_tokens`, the size of a chunk (256),
        `states`, the type of the chunks' key-value states ("none", the default, keeps
        none), `states_budget`, the most bytes of all states (no limit), and `main_text`,
        whether web pages are read without their navigation, headers and footers (False).
        The caller closes the model.

        Raises FileError for a store that does not exist or cannot be used, FormatError for
        a file that is not a store or has a newer format, UsageError for a store of another
        model or with other settings than those given, and MissingExtraError.
        """
        require_rag("a store")
        if main_text:
            require_main_text()
        path = Path(path)
        requested = RequestedSettings(vectors, chunk_tokens, states, states_budget, main_text)
        requested.check(model, is_new=not path.exists())
        check_location(path, create=create)
        database = open_database(path)
        try:
            settings = requested.for_new_store(model).load_or_save(database)
            requested.check_against(settings, model, path)
            settings = settings.with_fingerprint(model, database)
            return cls(path, model, settings, database)
        except BaseException:
            database.close()
            raise

    def add(self, *paths: str | Path, encoding: str = "") -> Update:
        """Bring the store up to date with files and folders: `scan`, then `embed`."""
        update = self.scan(*paths, encoding=encoding)
        self.embed()
        return update

    def scan(
        self,
        *paths: str | Path,
        encoding: str = "",
        progress: ProgressCallback = no_progress,
    ) -> Update:
        """Read files, and folders at any depth, and cut what is new or changed into chunks.

        The chunks are not embedded yet. Documents that no longer exist, in these folders or
        among the named files, are removed. The result names the documents that could not
        be read; the store keeps what it has of them. `encoding` is that of text files that are
        not Unicode and do not declare one; empty, it is detected, and told. It is remembered
        with these files. `progress` counts files.

        Raises UsageError for an unknown encoding, FileError for a path that neither exists nor
        is in the store, FormatError for a named file of another format, and FileError while
        another writer adds.
        """
        if self.settings.main_text:
            require_main_text()
        check_encoding(encoding)
        options = ReadingOptions(encoding, self.settings.main_text)
        wanted = [Path(path).absolute() for path in paths]
        removed = self._removed(wanted)
        listing = list_documents(
            [path for path in wanted if path not in removed],
            exclude=[Path(f"{self.path}{suffix}") for suffix in _SUFFIXES],
        )
        with self._writing() as database:
            scanner = Scanner(
                database, self._paths, self.model, self.settings.chunk_tokens, options
            )
            changes = scanner.scan(listing, removed, progress)
            with database.transaction():
                record_roots(database, self._paths, set(wanted) - removed)
        return Update(changes, listing.skipped)

    def _removed(self, wanted: Sequence[Path]) -> set[Path]:
        """The documents of the store whose files were deleted from their folders.

        Raises FileError for a missing or empty folder of which the store has documents: it may
        have been moved, or its disk is not mounted, and nothing is removed for that.
        """
        with self._lock:
            stored = stored_paths(self._database)
        removed: set[Path] = set()
        for path in wanted:
            if path.is_file() or (path.is_dir() and not is_empty(path)):
                continue
            known = [name for name in stored if self._paths.is_inside(name, [path])]
            if not known:
                continue  # an error of its own, or nothing
            is_document = not path.exists() and known == [self._paths.name(path)]
            if is_document and path.parent.is_dir() and not is_empty(path.parent):
                removed.add(path)
                continue
            what = "is empty" if path.is_dir() else "does not exist"
            raise FileError(
                f"{path} {what}, but {self.path} has {counted(len(known), 'document')} of it: "
                "mount its disk, or index it where it is now and remove it from the store"
            )
        return removed

    def condition(self) -> Condition:
        """What may make a search miss something, or find what is no longer there."""
        with self._lock:
            return read_condition(self._database, self._paths)

    def plan(self) -> Plan:
        """Count what is left to embed and estimate the time, by embedding a sample of it."""
        with self._lock:
            pending = count_pending(self._database)
            sample = first_pending(self._database, SAMPLE_TOKENS)
        with located_errors(lambda index: place_of(self._database, self._paths, sample[index])):
            return estimate(self.model, self.settings, pending, sample)

    def embed(self, *, progress: ProgressCallback = no_progress) -> None:
        """Embed what was scanned; `progress` counts tokens. Resumes an interrupted run.

        Raises FileError while another writer adds.
        """
        with self._writing() as database:
            states = self._states_in(database)
            vectors = self.settings.vectors
            embed_pending(database, self._paths, self.model, vectors, states, progress)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Database]:
        """Be the only writer; remove the states of deleted chunks at the end."""
        self._database.check_writable()
        with write_lock(self.path), contextlib.closing(open_database(self.path)) as database:
            yield database
            if self._states is not None:
                StateFiles(self.path, database).remove_orphans()

    def _states_in(self, database: Database) -> States | None:
        settings = self.settings
        if settings.states == "none":
            return None
        files = StateFiles(self.path, database)
        return States(
            files,
            self.model,
            settings.states,
            settings.state_bytes_limit,
            sampled_fingerprint=settings.sampled_fingerprint,
        )

    def search(
        self,
        query: str,
        count: int = 5,
        *,
        mode: Mode = "hybrid",
        rerank: int = 0,
        instruction: str = "",
        min_score: float = 0.0,
    ) -> list[Passage]:
        """Return the `count` best passages for a query, best first.

        `mode` is "vectors" (meaning), "words" (BM25) or "hybrid" (both). Passages with a score
        below `min_score` are left out; 0 leaves out none. The best `rerank` of the others are
        re-ranked by how likely the model finds the query after each, which reads them all; 0
        does not re-rank. `instruction` says in plain words what the query is embedded for.
        Raises EmptyTextError for an empty query, InputTooLongError for one that does not fit
        one pass, and UsageError.
        """
        return self._retriever.search(Query(query, count, mode, rerank, instruction, min_score))

    def ask(
        self,
        question: str,
        count: int = 3,
        *,
        history: Sequence[Message] = (),
        layout: LayoutChoice = "document-then-query",
        recompute: int | None = None,
        mode: Mode = "hybrid",
        rerank: int = 0,
        instruction: str = "",
        min_score: float | None = None,
        wording: str = QUESTION_FIELD,
        stream: bool = False,
        **options: Unpack[ChatOptions],
    ) -> StoreAnswer:
        """Answer a question from the `count` best passages, of which the best is read last.

        Returns a finished answer. With `stream` the caller iterates over it, and closes it
        unless it reads to the end. Where no passage reaches `min_score`, the answer says that
        the documents do not tell, whatever form `options` ask for, and has no passages. The
        default least score was measured for the default model and mode "hybrid" without an
        instruction (see `min_scores`); elsewhere it is 0: all passages count.

        `layout` says what the model reads and what comes from stored states (see `layouts`);
        "auto" picks `exact`, with the first passage's state, or `document-then-query`,
        whichever should be faster: the answer is the same. States that are not stored are
        computed, and kept if the store keeps states. `recompute` is that of
        `GritLM.join_states`, 0 by default; given with "auto", all states are joined.

        `history` holds earlier messages of the chat; passages are searched for the question
        alone. `wording` is how the model is asked, with `{question}` in place of the question.
        `mode`, `rerank` and `instruction` are those of `search`, `options` those of
        `GritLM.chat`; by default `temperature` is 0, `max_tokens` 512, and `stop_loops` true.

        Raises UsageError for options that cannot be right and for a store without documents,
        EmptyTextError, and InputTooLongError when passages and question do not fit the
        context.
        """
        # without spaces: one before the question would merge with the line ends before it
        if min_score is None:
            min_score = 0.0 if instruction else measured_min_score(self.model, mode)
        query = Query(question.strip(), count, mode, rerank, instruction, min_score)
        answer = self._pipeline.answer(
            Question(query, history, layout, recompute, wording), options
        )
        if answer is None:
            raise UsageError(
                f"{self.path} holds no documents yet: index some that cover the question"
            )
        if not stream:
            answer.read()
            warn_dropped(answer.dropped, self.model.context_length)
        return answer

    def state_usage(self, kind: StateKind | None = None) -> StateUsage:
        """Return the number of stored states of a kind, or of all, and the bytes they take."""
        with self._lock:
            return StateUsage(0, 0) if self._states is None else self._states.files.usage(kind)

    def close(self) -> None:
        """Close the file. The model stays open."""
        with self._lock:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
