"""Classification: the accuracy of a logistic regression on a few labelled vectors.

The procedure and its constants are those of mteb's AbsTaskClassification, so scores
are comparable with published ones: ten times, eight training texts per category are
drawn and a regression is fitted; the score is the mean accuracy.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gritlite.errors import FormatError
from gritlite.eval.dependencies import require_sklearn
from gritlite.eval.encoder import Encoder, embed
from gritlite.eval.labelled_texts import embedding_inputs, read_labelled
from gritlite.eval.task import Score, spread
from gritlite.runtime.embed import Vectors
from gritlite.system.progress import ProgressCallback

DRAWS = 10
TEXTS_PER_CATEGORY = 8
MAX_ITERATIONS = 100
SEED = 42


class Classification:
    """Accuracy on test.csv after training on train.csv, both in `folder`.

    All texts are embedded with `instruction`. `limit` lowers the number of
    test texts. Raises FileError, FormatError with the line that is wrong, and
    MissingExtraError without scikit-learn.
    """

    def __init__(self, folder: Path, *, instruction: str = "", limit: int | None = None) -> None:
        require_sklearn("classification")
        self.name = f"classification {folder.name}"
        self._instruction = instruction
        train, test = (read_labelled(folder / name) for name in ("train.csv", "test.csv"))
        known = {entry.category for entry in train}
        for entry in test:
            if entry.category not in known:
                raise FormatError(f"{entry.place}: train.csv has no category {entry.category!r}")
        self._draws = draw([entry.category for entry in train])
        # only the texts that are drawn need vectors
        drawn = sorted(set().union(*self._draws))
        self._rows = {index: row for row, index in enumerate(drawn)}
        self._train = [train[index] for index in drawn]
        self._test = spread(test, limit)

    def run(self, model: Encoder, progress: ProgressCallback) -> list[Score]:
        """Measure the model."""
        embedded = embed(
            model,
            [embedding_inputs(part, self._instruction) for part in (self._train, self._test)],
            progress,
        )
        train, test = embedded.vectors
        categories = np.array([entry.category for entry in self._train])
        expected = np.array([entry.category for entry in self._test])
        accuracies, unfinished = [], 0
        for indices in self._draws:
            rows = [self._rows[index] for index in indices]
            predicted, finished = _fit_and_predict(train[rows], categories[rows], test)
            accuracies.append(float((predicted == expected).mean()))
            unfinished += not finished
        notes = (
            f"mean of {DRAWS} draws of {TEXTS_PER_CATEGORY} texts a category",
            f"{unfinished} of them stopped at {MAX_ITERATIONS} iterations" if unfinished else "",
            embedded.note,
        )
        note = ", ".join(filter(None, notes))
        return [Score(self.name, "accuracy", float(np.mean(accuracies)), len(expected), note)]


def draw(categories: Sequence[str]) -> list[list[int]]:
    """The indices of each draw: up to eight of each category, in an order shuffled on and on."""
    order = list(range(len(categories)))
    draws = []
    for _ in range(DRAWS):
        # mteb begins the generator anew but goes on shuffling the same list
        np.random.RandomState(SEED).shuffle(order)
        taken: Counter[str] = Counter()
        chosen = []
        for index in order:
            if taken[categories[index]] < TEXTS_PER_CATEGORY:
                taken[categories[index]] += 1
                chosen.append(index)
        draws.append(chosen)
    return draws


def _fit_and_predict(
    train: Vectors, categories: np.ndarray, test: Vectors
) -> tuple[np.ndarray, bool]:
    """The predicted categories, and whether the fit converged."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(max_iter=MAX_ITERATIONS, random_state=SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told in the note
        regression.fit(train, categories)
    return regression.predict(test), max(regression.n_iter_) < MAX_ITERATIONS
