"""Texts that are no files: documents that the caller hands over, each with an id.

A text is cut and embedded as a file of plain text is, after the "title" of its metadata if
that is given. The store keeps its chunks, not the text itself.
"""

import hashlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gritlite.errors import CancelledError, InputError, UsageError
from gritlite.rag.chunking import cut
from gritlite.rag.database import Database
from gritlite.rag.document import Document
from gritlite.rag.formats import clean
from gritlite.rag.formats.paragraphs import paragraphs
from gritlite.rag.metadata import Metadata, check_metadata
from gritlite.rag.sources import (
    NewSource,
    SourceRow,
    find_source,
    insert_source,
    set_metadata,
    text_name,
)
from gritlite.runtime.any_model import AnyModel
from gritlite.system.progress import ProgressCallback

_ID_DIGITS = 32  # of an id that is made of the text


@dataclass(frozen=True)
class TextUpdate:
    """What `Store.add_texts` did: the id of each text, and how many were added and changed.

    Of `metadata_changed` only the metadata changed: they are not among `unchanged`. `empty`
    names those that have no text to embed: they are in the store, without passages.
    """

    ids: tuple[str, ...]
    added: int
    changed: int
    metadata_changed: int
    unchanged: int
    empty: tuple[str, ...]


@dataclass(frozen=True)
class Text:
    """A text and its id; metadata None leaves what the store has."""

    id: str
    text: str
    metadata: Metadata | None


def read_texts(
    texts: Sequence[str],
    ids: Sequence[str] | None,
    metadata: Metadata | Sequence[Metadata] | None,
) -> list[Text]:
    """The texts with what `Store.add_texts` was told of them.

    Raises InputError for a text that is none, and UsageError for ids or metadata that do not
    fit.
    """
    if isinstance(texts, str):
        raise UsageError("texts is a str: expected a list of them")
    texts = list(texts)
    for number, text in enumerate(texts):
        _check_text(text, number)
    ids = [_content_id(text) for text in texts] if ids is None else _checked_ids(ids, len(texts))
    each: Sequence[Metadata | None]
    if metadata is None or isinstance(metadata, Mapping):
        each = [metadata] * len(texts)
    else:
        each = list(metadata)
    if len(each) != len(texts):
        raise UsageError(f"metadata has {len(each)} items for {len(texts)} texts")
    for one in each:
        if one is not None:
            check_metadata(one)
    return [Text(*of) for of in zip(ids, texts, each, strict=True)]


def _check_text(text: object, number: int) -> None:
    if not isinstance(text, str):
        raise InputError(f"{type(text).__name__} instead of str", number)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError("it holds half of a character, which is no Unicode", number) from error


def _content_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]


def _checked_ids(ids: Sequence[str], count: int) -> list[str]:
    if isinstance(ids, str):
        raise UsageError("ids is a str: expected a list of them")
    ids = list(ids)
    if len(ids) != count:
        raise UsageError(f"ids has {len(ids)} items for {count} texts")
    seen: set[str] = set()
    for id in ids:
        if not isinstance(id, str) or not id.strip() or not id.isprintable():
            raise UsageError(f"{id!r} is no id: expected a text of printable characters")
        if id in seen:
            raise UsageError(f"the id {id!r} is given twice")
        seen.add(id)
    return ids


@dataclass
class TextAdder:
    """Inserts texts. Nobody else may write to the database meanwhile.

    Chunks have about `chunk_tokens` tokens at most. Raises CancelledError soon after `cancel` is
    set.
    """

    database: Database
    model: AnyModel
    chunk_tokens: int
    cancel: threading.Event | None
    _added: int = 0
    _changed: int = 0
    _metadata_changed: int = 0
    _unchanged: int = 0
    _empty: list[str] = field(default_factory=list)

    def add(self, texts: Sequence[Text], progress: ProgressCallback) -> TextUpdate:
        """Cut new and changed texts into chunks, and insert these; `progress` counts texts."""
        once = {text.id: text for text in texts}  # without ids, a text may be there twice
        for number, text in enumerate(once.values()):
            progress(number, len(once))
            self._add(text)
        progress(len(once), len(once))
        ids = tuple(text.id for text in texts)
        counts = (self._added, self._changed, self._metadata_changed, self._unchanged)
        return TextUpdate(ids, *counts, tuple(self._empty))

    def _add(self, text: Text) -> None:
        self._check_cancelled()
        name = text_name(text.id)
        complete = find_source(self.database, name, complete=True)
        pending = find_source(self.database, name, complete=False)
        newest = pending or complete
        metadata = _metadata(text, newest)
        title = _title(metadata)
        digest = hashlib.sha256(json.dumps([title, text.text]).encode()).digest()
        for known in (pending, complete):
            if known is not None and known.digest == digest:
                is_relabelled = self._keep(known, pending, text)
                self._count(known, complete, is_relabelled)
                return
        now = time.time_ns()
        size = len(text.text.encode())
        new = NewSource(name, digest, size, now, now, "", title, metadata)
        self._insert(new, text)
        if newest is None:
            self._added += 1
        else:
            self._changed += 1

    def _keep(self, known: SourceRow, pending: SourceRow | None, text: Text) -> bool:
        """Leave a text that the store has; return whether it was given other metadata."""
        with self.database.transaction():
            if pending is not None and pending is not known:  # the change was taken back
                self.database.execute("delete from source where id = ?", (pending.id,))
            return set_metadata(self.database, known, text.metadata)

    def _count(self, known: SourceRow, complete: SourceRow | None, is_relabelled: bool) -> None:
        """Count a text that is in the store already; one that is not embedded yet is new."""
        if known is complete and is_relabelled:
            self._metadata_changed += 1
        elif known is complete:
            self._unchanged += 1
        elif complete is None:
            self._added += 1
        else:
            self._changed += 1

    def _insert(self, new: NewSource, text: Text) -> None:
        document = Document(new.title, tuple(paragraphs(clean(text.text))))
        chunks = list(cut(document, self._count_tokens, self.chunk_tokens))
        tokens = [self._count_tokens(chunk.embedded) for chunk in chunks]
        insert_source(self.database, new, chunks, tokens)
        if not chunks:
            self._empty.append(text.id)

    def _count_tokens(self, text: str) -> int:
        self._check_cancelled()  # a long text is cut by many calls
        return len(self.model.tokenize(text))

    def _check_cancelled(self) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise CancelledError("adding texts was cancelled")


def _metadata(text: Text, known: SourceRow | None) -> Metadata:
    if text.metadata is not None:
        return text.metadata
    return {} if known is None else known.metadata


def _title(metadata: Metadata) -> str:
    title = metadata.get("title", "")
    return " ".join(title.split()) if isinstance(title, str) else ""
