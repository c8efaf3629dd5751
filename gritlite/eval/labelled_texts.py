"""Read labelled texts from CSV files with the columns text and category."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from gritlite.errors import FormatError
from gritlite.eval.encoder import Texts
from gritlite.system.textfiles import read_text

COLUMNS = ["text", "category"]


@dataclass(frozen=True)
class LabelledText:
    """A text, its category, and its place in the file for messages: its row's last line."""

    text: str
    category: str
    place: str


def read_labelled(path: Path) -> list[LabelledText]:
    """The texts of a CSV file whose first line names the columns.

    Raises FileError, and FormatError with the line that is wrong.
    """
    rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    labelled = []
    try:
        if next(rows, None) != COLUMNS:
            raise FormatError(f"{path}, line 1: expected the columns {','.join(COLUMNS)}")
        for row in rows:
            place = f"{path}, line {rows.line_num}"
            if len(row) != len(COLUMNS):
                raise FormatError(f"{place}: {len(row)} columns: expected {len(COLUMNS)}")
            labelled.append(LabelledText(row[0], row[1], place))
    except csv.Error as error:
        raise FormatError(f"{path}, line {rows.line_num}: not CSV: {error}") from error
    if len({entry.category for entry in labelled}) < 2:
        raise FormatError(f"{path}: fewer than two categories")
    return labelled


def embedding_inputs(labelled: list[LabelledText], instruction: str) -> Texts:
    """The texts for an encoder."""
    return Texts(
        [entry.text for entry in labelled], [entry.place for entry in labelled], instruction
    )
