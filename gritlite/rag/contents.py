"""What a store holds: documents that are added, embedded, listed and removed.

Knows nothing of searches and answers.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gritlite.errors import FileError
from gritlite.rag.condition import Condition, read_condition
from gritlite.rag.database import Database
from gritlite.rag.document import ReadingOptions, check_encoding
from gritlite.rag.embedding import count_pending, embed_pending, first_pending, place_of
from gritlite.rag.extra import require_main_text
from gritlite.rag.folder import is_empty, list_documents
from gritlite.rag.listing import Removal, StoredDocument, list_stored, remove_stored
from gritlite.rag.metadata import Metadata, check_metadata
from gritlite.rag.migrations import open_database
from gritlite.rag.paths import StorePaths
from gritlite.rag.planning import SAMPLE_TOKENS, Plan, estimate
from gritlite.rag.roots import record_roots
from gritlite.rag.scanning import Changes, Scanner
from gritlite.rag.settings import Settings
from gritlite.rag.sources import stored_paths
from gritlite.rag.state_files import StateFiles
from gritlite.rag.states import States
from gritlite.rag.texts import TextAdder, TextUpdate, read_texts
from gritlite.rag.where import Where, read_where
from gritlite.rag.write_lock import write_lock
from gritlite.runtime.any_model import AnyModel
from gritlite.runtime.located_errors import located_errors
from gritlite.system.progress import ProgressCallback, no_progress, part_of
from gritlite.system.wording import counted

_SUFFIXES = ("", "-wal", "-shm", ".lock", ".states")  # of a store's own files
_READ = 0.1  # the share of `add` that reading takes; embedding takes longer


@dataclass(frozen=True)
class Update:
    """What a scan found: changed documents, and how many files of other formats, by suffix."""

    changes: Changes
    skipped: dict[str, int]


class Contents:
    """The documents of a store. Thread-safe; one thread or process at a time may change them."""

    def __init__(self, path: Path, model: AnyModel, settings: Settings, database: Database) -> None:
        self.path = path
        self.model = model
        self.settings = settings
        self._database = database  # writing has its own connection, so searches go on
        self._lock = threading.RLock()
        self._paths = StorePaths(path.parent)
        self._states = self._states_in(database)

    def add(
        self,
        *paths: str | Path,
        encoding: str = "",
        metadata: Metadata | None = None,
        progress: ProgressCallback = no_progress,
        cancel: threading.Event | None = None,
    ) -> Update:
        """Bring the store up to date with files and folders: `scan`, then `embed`.

        `progress` counts thousandths of both together. Raises as they do.
        """
        with self._writing() as database:
            reading = part_of(progress, 0.0, _READ)
            update = self._scan(database, paths, encoding, metadata, reading, cancel)
            self._embed(database, part_of(progress, _READ, 1.0), cancel)
        return update

    def add_texts(
        self,
        texts: Sequence[str],
        *,
        ids: Sequence[str] | None = None,
        metadata: Metadata | Sequence[Metadata] | None = None,
        progress: ProgressCallback = no_progress,
        cancel: threading.Event | None = None,
    ) -> TextUpdate:
        """Add texts that are no files, and embed them with what an earlier run left.

        `ids` name the texts; without any, a text's id is made of the text. A text replaces one
        of the same id; where it is the same text, nothing is embedded. `metadata` is what
        `search` can filter by, for each text or one for all: names, and values that are str,
        int, float or bool. It replaces what the store has of a text; None leaves that. A
        "title" that is a str is embedded in front of each passage. `progress` counts
        thousandths of the work.

        Raises InputError for a text that is none, UsageError for ids and metadata that do not
        fit, FileError while another writer adds, and CancelledError soon after `cancel` is
        set: what was done stays, and the same call does the rest.
        """
        given = read_texts(texts, ids, metadata)
        with self._writing() as database:
            adder = TextAdder(database, self.model, self.settings.chunk_tokens, cancel)
            update = adder.add(given, part_of(progress, 0.0, _READ))
            self._embed(database, part_of(progress, _READ, 1.0), cancel)
        return update

    def scan(
        self,
        *paths: str | Path,
        encoding: str = "",
        metadata: Metadata | None = None,
        progress: ProgressCallback = no_progress,
        cancel: threading.Event | None = None,
    ) -> Update:
        """Read files, and folders at any depth, and cut what is new or changed into chunks.

        The chunks are not embedded yet. Documents that no longer exist, in these folders or
        among the named files, are removed. The result names the documents that could not
        be read; the store keeps what it has of them. `encoding` is that of text files that are
        not Unicode and do not declare one; empty, it is detected, and told. It is remembered
        with these files. So is `metadata`, by which `search` can filter: names, and values that
        are str, int, float or bool. It replaces what the store has; None leaves that.
        `progress` counts files.

        Raises UsageError for an unknown encoding or wrong metadata, FileError for a path that
        neither exists nor is in the store, FormatError for a named file of another format,
        FileError while another writer adds, and CancelledError soon after `cancel` is set: what
        was read stays, nothing is removed, and the same call does the rest.
        """
        with self._writing() as database:
            return self._scan(database, paths, encoding, metadata, progress, cancel)

    def _scan(
        self,
        database: Database,
        paths: Sequence[str | Path],
        encoding: str,
        metadata: Metadata | None,
        progress: ProgressCallback,
        cancel: threading.Event | None,
    ) -> Update:
        if self.settings.main_text:
            require_main_text()
        check_encoding(encoding)
        if metadata is not None:
            check_metadata(metadata)
        options = ReadingOptions(encoding, self.settings.main_text)
        wanted = [Path(path).absolute() for path in paths]
        removed = self._removed(wanted)
        listing = list_documents(
            [path for path in wanted if path not in removed],
            exclude=[Path(f"{self.path}{suffix}") for suffix in _SUFFIXES],
        )
        limit = self.settings.chunk_tokens
        scanner = Scanner(database, self._paths, self.model, limit, options, metadata, cancel)
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

    def embed(
        self,
        *,
        progress: ProgressCallback = no_progress,
        cancel: threading.Event | None = None,
    ) -> None:
        """Embed what was scanned; `progress` counts tokens. Resumes an interrupted run.

        Raises FileError while another writer adds, and CancelledError within one pass of
        `cancel` being set: what was embedded stays, and the next call does the rest.
        """
        with self._writing() as database:
            self._embed(database, progress, cancel)

    def _embed(
        self, database: Database, progress: ProgressCallback, cancel: threading.Event | None
    ) -> None:
        states = self._states_in(database)
        kept = self.settings.vectors, self.settings.dimensions or None
        embed_pending(database, self._paths, self.model, *kept, states, progress, cancel)

    def documents(self, where: Where | None = None) -> list[StoredDocument]:
        """The documents, changed ones as last read: files by folder and path, then texts by id.

        `where` is that of `search`. Raises UsageError for a wrong one.
        """
        condition = read_where(where)
        with self._lock:
            return list_stored(self._database, self._paths, condition)

    def remove(self, *documents: str | Path) -> list[Removal]:
        """Remove documents, by the ids of texts and the paths of files and folders.

        `StoredDocument.id` and `Passage.document` are such ids and paths. A str that is the id
        of a text means that. Files themselves are not touched, and need not exist. Raises
        FileError for what the store does not have, and then removes nothing, and while
        another writer adds.
        """
        with self._writing() as database:
            return remove_stored(database, self._paths, documents)

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
