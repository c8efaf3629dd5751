"""Passages as answers of the server hold them, without the folders of this machine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from gritlite.rag.references import located, reference

if TYPE_CHECKING:
    from gritlite.rag.search import Passage
    from gritlite.rag.store import Store


class Citation(BaseModel):
    """A passage of a store."""

    number: int = Field(description="1 for the best passage, which answers call [1].")
    source: str = Field(
        description="The document, from the folder that was indexed on, or the id of a text."
    )
    metadata: dict[str, str | int | float | bool] = Field(description="The document's metadata.")
    place: str = Field(description='Where in it the passage begins, as "line 12"; may be empty.')
    heading: str = Field(description="The headings above the passage.")
    reference: str = Field(description="Source, place and heading in one line, for people.")
    text: str = Field(description="The passage.")
    score: float = Field(description="How well it matches; comparable within one store only.")
    gone: bool = Field(description="Whether the document's file does not exist now.")


def cite(store: "Store", passages: Sequence["Passage"]) -> list[Citation]:
    """Passages of a store, the best first, as citations."""
    return [
        Citation(
            number=number,
            source=source,
            metadata=passage.metadata,
            place=passage.place,
            heading=passage.heading,
            reference=reference(located(source, passage.place), passage),
            text=passage.text,
            score=passage.score,
            gone=passage.gone,
        )
        for number, (source, passage) in enumerate(
            zip(store.names(passages), passages, strict=True), 1
        )
    ]
