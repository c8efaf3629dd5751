"""`Store`: documents on disk, cut and embedded, that can be searched and answered from.

One SQLite file holds everything but key-value states, which are files in a folder beside
it. One process at a time may add documents. Any number may search meanwhile, and see each
document as it was before or as it is after, never half of it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self, Unpack

from gritlite.errors import UsageError
from gritlite.prompt import QUESTION_FIELD
from gritlite.rag.answer import StoreAnswer
from gritlite.rag.asking import Pipeline, Question
from gritlite.rag.contents import Contents
from gritlite.rag.cost_model import CostModel
from gritlite.rag.database import Database, check_location
from gritlite.rag.extra import require_main_text, require_rag
from gritlite.rag.layouts import LayoutChoice, StateKind
from gritlite.rag.migrations import open_database
from gritlite.rag.min_scores import measured_min_score
from gritlite.rag.retrieval import Query, Retriever
from gritlite.rag.roots import name_below, root_finder
from gritlite.rag.search import Mode, Passage, Searcher
from gritlite.rag.settings import RequestedSettings, Settings, StateTypeOrNone
from gritlite.rag.state_files import StateUsage
from gritlite.rag.vectors import VectorType
from gritlite.rag.where import Where, read_where
from gritlite.runtime.answer import warn_dropped
from gritlite.runtime.any_model import AnyModel
from gritlite.runtime.embed import Vectors
from gritlite.runtime.options import ChatOptions
from gritlite.runtime.template import Message


class Store(Contents):
    """A store, and the model that embeds for it. Thread-safe; use it as a context manager.

    `Store.open` makes one. While a thread adds documents, others can search.
    """

    def __init__(
        self,
        path: Path,
        model: AnyModel,
        settings: Settings,
        database: Database,
        *,
        measures: bool = True,
    ) -> None:
        super().__init__(path, model, settings, database)
        self._cost_model = CostModel(database, measures=measures)
        dimension = settings.dimensions or model.dimension
        self._searcher = Searcher(database, self._paths, settings.vectors, dimension)
        self._retriever = Retriever(model, self._searcher, self._lock)
        self._pipeline = Pipeline(
            model, self._retriever, self._states, self._cost_model, self._lock
        )

    @classmethod
    def open(
        cls,
        path: str | Path,
        model: AnyModel,
        *,
        create: bool = True,
        vectors: VectorType | None = None,
        chunk_tokens: int | None = None,
        states: StateTypeOrNone | None = None,
        states_budget: int | None = None,
        main_text: bool | None = None,
        dimensions: int | None = None,
        measures: bool = True,
    ) -> Self:
        """Open a store, or create one if there is none and `create` is true.

        Six settings are chosen when a store is created and stay: `vectors`, the type of
        stored vectors (float32 by default), `chunk_tokens`, the size of a chunk (256),
        `states`, the type of the chunks' key-value states ("none", the default, keeps
        none), `states_budget`, the most bytes of all states (no limit), `main_text`,
        whether web pages are read without their navigation, headers and footers (False), and
        `dimensions`, how many numbers of a vector are kept, of the sizes that the model was
        trained for (all).
        The caller closes the model.

        `measures` lets `ask(layout="auto")` choose by times that it measures; without it, states
        are taken wherever they are kept, and no answer depends on how busy the machine is.

        Raises FileError for a store that does not exist or cannot be used, FormatError for
        a file that is not a store or has a newer format, UsageError for a store of another
        model or with other settings than those given, and MissingExtraError.
        """
        require_rag("a store")
        if main_text:
            require_main_text()
        path = Path(path)
        requested = RequestedSettings(
            vectors, chunk_tokens, states, states_budget, main_text, dimensions
        )
        requested.check(model, is_new=not path.exists())
        check_location(path, create=create)
        database = open_database(path)
        try:
            settings = requested.for_new_store(model).load_or_save(database)
            requested.check_against(settings, model, path)
            settings = settings.with_fingerprint(model, database)
            return cls(path, model, settings, database, measures=measures)
        except BaseException:
            database.close()
            raise

    def search(
        self,
        query: str,
        count: int = 5,
        *,
        mode: Mode = "hybrid",
        rerank: int = 0,
        instruction: str = "",
        min_score: float = 0.0,
        where: Where | None = None,
        vector: Vectors | None = None,
    ) -> list[Passage]:
        """Return the `count` best passages for a query, best first.

        `mode` is "vectors" (meaning), "words" (BM25) or "hybrid" (both). Passages with a score
        below `min_score` are left out; 0 leaves out none. The best `rerank` of the others are
        re-ranked by how likely the model finds the query after each, which reads them all; 0
        does not re-rank. `instruction` says in plain words what the query is embedded for;
        `vector`, float32 [dimension], is the query's where it has been embedded already.

        `where` restricts the search to documents by their metadata: {"author": "Smith"},
        {"year": {"$gte": 1990, "$lt": 2000}}, {"$or": [{"author": "Smith"}, {"tag": {"$in":
        ["inn", "ferry"]}}]} (see `where`). All other documents are left out before any is
        ranked, so `count` passages are found where there are as many.

        Raises EmptyTextError for an empty query, InputTooLongError for one that does not fit
        one pass, and UsageError.
        """
        wanted = Query(query, count, mode, rerank, instruction, min_score, read_where(where))
        return self._retriever.search(wanted, vector)

    def names(self, passages: Sequence[Passage]) -> list[str]:
        """The documents of passages as others than this machine's users should see them.

        Each name begins with that of the folder that was indexed, without the folders above it:
        "notes/inn.md", and "inn.md" for a file that was indexed by itself. A text has its id.
        """
        with self._lock:
            find = root_finder(self._database, self._paths)
            return [
                each.document
                if each.source is None
                else name_below(each.source, find(self._paths.name(each.source)))
                for each in passages
            ]

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
        where: Where | None = None,
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
        `mode`, `rerank`, `instruction` and `where` are those of `search`, `options` those of
        `GritLM.chat`; by default `temperature` is 0, `max_tokens` 512, and `stop_loops` true.

        Raises UsageError for options that cannot be right and for a store without documents,
        EmptyTextError, and InputTooLongError when passages and question do not fit the
        context.
        """
        # without spaces: one before the question would merge with the line ends before it
        if min_score is None:
            min_score = 0.0 if instruction else measured_min_score(self.model, mode)
        text = question.strip()
        query = Query(text, count, mode, rerank, instruction, min_score, read_where(where))
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

    def __repr__(self) -> str:
        states = "" if self.settings.states == "none" else f", states in {self.settings.states}"
        return (
            f"<Store {self.path}: vectors of {self.model.path.name} in {self.settings.vectors}"
            f"{states}>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
