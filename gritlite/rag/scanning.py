"""Indexing, step one: read the documents that changed and cut them into chunks.

Each document is one transaction. A process may be killed at any moment: the database
alone says what the next scan has to do.
"""

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from gritlite.errors import CancelledError, DocumentError
from gritlite.rag.chunking import Chunk, cut
from gritlite.rag.chunks import chunk_rows
from gritlite.rag.database import Database
from gritlite.rag.document import Document, ReadingOptions
from gritlite.rag.document_reader import DocumentReader, Snapshot, snapshot
from gritlite.rag.folder import Listing
from gritlite.rag.formats import READER, TEXT_FORMATS
from gritlite.rag.metadata import Metadata
from gritlite.rag.paths import StorePaths
from gritlite.rag.roots import forget_roots
from gritlite.rag.sources import (
    NewSource,
    SourceRow,
    find_source,
    insert_source,
    seal,
    set_metadata,
    stored_paths,
)
from gritlite.runtime.any_model import AnyModel
from gritlite.system.progress import ProgressCallback


@dataclass(frozen=True)
class Changes:
    """How many documents a scan found added, changed, unchanged and removed.

    Of `metadata_changed` only the metadata changed: they are not among `unchanged`. `resumed`
    of those added and changed were read by an earlier run, which ended before they were
    embedded. `empty` names documents without text, and `warnings` says which parts were not
    read and what was guessed; both are among `added` and `changed`. `failed` says which
    documents could not be read and why; the store keeps what it has of these.
    """

    added: int = 0
    changed: int = 0
    metadata_changed: int = 0
    unchanged: int = 0
    removed: int = 0
    resumed: int = 0
    empty: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass
class _Counts:
    added: int = 0
    changed: int = 0
    metadata_changed: int = 0
    unchanged: int = 0
    resumed: int = 0
    empty: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def changes(self, removed: int) -> Changes:
        return Changes(
            self.added,
            self.changed,
            self.metadata_changed,
            self.unchanged,
            removed,
            self.resumed,
            tuple(self.empty),
            tuple(self.warnings),
            tuple(self.failed),
        )


class Scanner:
    """One scan. Nobody else may write to the database meanwhile.

    Chunks have about `chunk_tokens` tokens at most. Documents get `metadata`, or keep what
    they have where it is None. Raises CancelledError soon after `cancel` is set.
    """

    def __init__(
        self,
        database: Database,
        paths: StorePaths,
        model: AnyModel,
        chunk_tokens: int,
        options: ReadingOptions,
        metadata: Metadata | None,
        cancel: threading.Event | None,
    ) -> None:
        self._database = database
        self._paths = paths
        self._model = model
        self._chunk_tokens = chunk_tokens
        self._options = options
        self._metadata = metadata
        self._cancel = cancel
        self._counts = _Counts()

    def scan(
        self, listing: Listing, removed: Collection[Path], progress: ProgressCallback
    ) -> Changes:
        """Cut new and changed documents into chunks; remove documents that no longer exist.

        These are the `removed`, and those that are missing from the listed folders.
        """
        total = len(listing.files)
        with DocumentReader(cancel=self._cancel) as reader:
            for number, path in enumerate(listing.files):
                self._check_cancelled()
                progress(number, total)
                try:
                    self._update(path, reader)
                except DocumentError as error:
                    self._counts.failed.append(str(error))
        progress(total, total)
        return self._counts.changes(self._remove_missing(listing, removed))

    def _update(self, path: Path, reader: DocumentReader) -> None:
        """Bring the rows of one document up to date with its file."""
        name = self._stored_name(path)
        complete = find_source(self._database, name, complete=True)
        pending = find_source(self._database, name, complete=False)
        newest = pending or complete
        encoding = self._encoding(path, newest)
        if newest is not None and newest.was_read(encoding) and newest.is_current(path):
            with self._database.transaction():
                is_relabelled = set_metadata(self._database, newest, self._metadata)
            self._count_known(newest, complete, is_relabelled)
            return
        read_ns = time.time_ns()
        file = snapshot(path)
        for known in (pending, complete):
            if known is not None and known.digest == file.digest and known.was_read(encoding):
                outdated = pending if known is complete else None
                is_relabelled = self._confirm(known, outdated, file, read_ns, encoding)
                self._count_known(known, complete, is_relabelled)
                return
        document = reader.read(file.data, path, replace(self._options, encoding=encoding))
        chunks = list(cut(document, self._count_tokens, self._chunk_tokens))
        if newest is not None and newest.digest == file.digest and self._holds(newest, chunks):
            is_relabelled = self._confirm(newest, None, file, read_ns, encoding)
            self._count_known(newest, complete, is_relabelled)
            return
        self._check_cancelled()
        kept = {} if newest is None else newest.metadata
        new = NewSource(
            *(name, file.digest, len(file.data), file.mtime_ns, read_ns, encoding),
            title=document.title,
            metadata=kept if self._metadata is None else self._metadata,
        )
        tokens = [self._count_tokens(chunk.embedded) for chunk in chunks]
        insert_source(self._database, new, chunks, tokens)
        self._count(path, document, chunks, is_new=newest is None)

    def _encoding(self, path: Path, known: SourceRow | None) -> str:
        """The encoding that was asked for, now or when the document was last read."""
        if path.suffix.lower() not in TEXT_FORMATS:
            return ""
        return self._options.encoding or ("" if known is None else known.encoding)

    def _holds(self, source: SourceRow, chunks: list[Chunk]) -> bool:
        """Whether another version of the reader cut the same chunks."""
        rows = chunk_rows(self._database, "source = ? order by chunk.id", (source.id,))
        return [Chunk(row.text, row.heading, row.place, row.embedded) for row in rows] == chunks

    def _stored_name(self, path: Path) -> str:
        name = self._paths.name(path)
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DocumentError(f"the name of {path} is not UTF-8: rename the file") from error
        return name

    def _check_cancelled(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError("reading documents was cancelled")

    def _count_tokens(self, text: str) -> int:
        self._check_cancelled()  # a long document is cut by many calls
        return len(self._model.tokenize(text))

    def _count_known(self, row: SourceRow, complete: SourceRow | None, is_relabelled: bool) -> None:
        """Count a document whose newest version is in the store, perhaps with new metadata."""
        if row is complete and is_relabelled:
            self._counts.metadata_changed += 1
            return
        if row is complete:
            self._counts.unchanged += 1
            return
        self._counts.resumed += 1
        if complete is None:
            self._counts.added += 1
        else:
            self._counts.changed += 1

    def _count(self, path: Path, document: Document, chunks: list[Chunk], *, is_new: bool) -> None:
        if is_new:
            self._counts.added += 1
        else:
            self._counts.changed += 1
        if not chunks:
            self._counts.empty.append(path)
        self._counts.warnings += [f"{path}: {note}" for note in document.notes]

    def _confirm(
        self,
        known: SourceRow,
        outdated: SourceRow | None,
        file: Snapshot,
        read_ns: int,
        encoding: str,
    ) -> bool:
        """Record how a file was read whose bytes, or at least chunks, are those of `known`.

        Returns whether its metadata changed.
        """
        with self._database.transaction():
            self._delete(outdated)
            self._database.execute(
                "update source set mtime_ns = ?, read_ns = ?, reader = ?, encoding = ?"
                " where id = ?",
                (file.mtime_ns, read_ns, READER, encoding, known.id),
            )
            seal(self._database, known.id)
            return set_metadata(self._database, known, self._metadata)

    def _delete(self, source: SourceRow | None) -> None:
        if source is not None:
            self._database.execute("delete from source where id = ?", (source.id,))

    def _remove_missing(self, listing: Listing, removed: Collection[Path]) -> int:
        """Delete the sources of documents that no longer exist; return their number."""
        present = {self._paths.name(path) for path in listing.files}
        stored = stored_paths(self._database)
        missing = {self._paths.name(path) for path in removed}
        missing.update(
            name
            for name in stored
            if name not in present and self._paths.is_inside(name, listing.folders)
        )
        with self._database.transaction():
            for name in missing:
                self._database.execute("delete from source where path = ?", (name,))
            forget_roots(self._database, missing)
        return len(missing)
