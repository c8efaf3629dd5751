"""The table of `gritlite eval`: a row for each measure, printed as tasks finish."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gritlite.system.wording import printable

if TYPE_CHECKING:
    from gritlite.eval.report import EvaluationReport
    from gritlite.eval.task import Score

_MEASURE_WIDTH, _VALUE_WIDTH, _COUNT_WIDTH = 18, 9, 7


class ScoreTable:
    """Aligned lines with the scores of the named tasks, compared with a reference if given.

    A reference value is shown only if task, measure and count are the same: scores
    from different numbers of texts are not comparable.
    """

    def __init__(self, tasks: Sequence[str], reference: "EvaluationReport | None" = None) -> None:
        self._width = max(len(printable(task)) for task in tasks)
        self._compared = reference is not None
        self._known = {
            (score.task, score.measure, score.count): score.value
            for score in (reference.scores if reference is not None else ())
        }

    def header(self) -> str:
        """The header line."""
        others = ("reference", "change") if self._compared else ()
        return self._line("task", "measure", ("value", *others), "on", "")

    def rows(self, scores: Sequence["Score"]) -> str:
        """The lines of one task. A note that several measures share is shown once."""
        lines, last_note = [], ""
        for score in scores:
            values = [_number(score.value)]
            if self._compared:
                known = self._known.get((score.task, score.measure, score.count))
                change = None if known is None else score.value - known
                values += [_number(known), _number(change, sign="+")]
            note = score.note if score.note != last_note else ""
            lines.append(
                self._line(printable(score.task), score.measure, values, f"{score.count:,}", note)
            )
            last_note = score.note
        return "\n".join(lines)

    def _line(self, task: str, measure: str, values: Sequence[str], count: str, note: str) -> str:
        cells = [
            f"{task:<{self._width}}",
            f"{measure:<{_MEASURE_WIDTH}}",
            *(f"{value:>{_VALUE_WIDTH}}" for value in values),
            f"{count:>{_COUNT_WIDTH}}",
            note,
        ]
        return "  ".join(cells).rstrip()


def _number(value: float | None, *, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.4f}"
