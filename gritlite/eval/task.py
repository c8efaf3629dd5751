"""The interface of evaluation tasks, and their scores.

The module knows no test set, no measure and no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gritlite.system.progress import ProgressCallback

_Item = TypeVar("_Item")
_Model_contra = TypeVar("_Model_contra", contravariant=True)


@dataclass(frozen=True)
class Score:
    """One measured number.

    `task` is the kind and the file, as "sts sts-test.tsv"; `measure` the field's
    name, as "nDCG@10"; `value` is a fraction of 1 where the measure is one;
    `count` the number of pairs, queries, texts or tokens it was measured on;
    `note` says what was done to the data, as how many texts were cut.
    """

    task: str
    measure: str
    value: float
    count: int
    note: str = ""


class Task(Protocol[_Model_contra]):
    """A test set that is read and checked when made, and measured by `run`.

    Embedding tasks take an `Encoder`, generation tasks a `GritLM`. `run` calls
    `progress` at least once for every few seconds of work.
    """

    @property
    def name(self) -> str:
        """The task's kind and its file, as in every Score of it."""

    def run(self, model: _Model_contra, progress: ProgressCallback) -> list[Score]:
        """Measure the model."""


def spread(items: Sequence[_Item], limit: int | None) -> list[_Item]:
    """Return at most `limit` items, evenly spread, because files are often sorted by kind."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]
