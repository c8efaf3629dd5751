"""Clustering: how well clusters of the vectors match the categories.

The procedure and its constants are those of mteb's AbsTaskClustering: ten times,
vectors are drawn with replacement and clustered by mini-batch k-means into as many
clusters as there are categories; the score is the mean v-measure.
"""

import random
from pathlib import Path

import numpy as np

from gritlite.eval.dependencies import require_sklearn
from gritlite.eval.encoder import Encoder, embed
from gritlite.eval.labelled_texts import embedding_inputs, read_labelled
from gritlite.eval.task import Score, spread
from gritlite.system.progress import ProgressCallback

DRAWS = 10
DRAWN = 16_384  # vectors a draw
BATCH = 512  # vectors a step of k-means
SEED = 42


class Clustering:
    """V-measure (Rosenberg and Hirschberg 2007), 0 to 1, of the clusters against the categories.

    All texts are embedded with `instruction`. Raises FileError, FormatError with
    the line that is wrong, and MissingExtraError without scikit-learn.
    """

    def __init__(self, path: Path, *, instruction: str = "", limit: int | None = None) -> None:
        require_sklearn("clustering")
        self.name = f"clustering {path.name}"
        self._instruction = instruction
        self._labelled = spread(read_labelled(path), limit)

    def run(self, model: Encoder, progress: ProgressCallback) -> list[Score]:
        """Measure the model."""
        embedded = embed(model, [embedding_inputs(self._labelled, self._instruction)], progress)
        vectors = embedded.vectors[0]
        categories = np.array([entry.category for entry in self._labelled])
        value = mean_v_measure(vectors, categories)
        notes = (f"mean of {DRAWS} draws of {DRAWN:,} with replacement", embedded.note)
        note = ", ".join(filter(None, notes))
        return [Score(self.name, "v-measure", value, len(categories), note)]


def mean_v_measure(vectors: np.ndarray, categories: np.ndarray) -> float:
    """The mean over the draws."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.metrics import v_measure_score

    clustering = MiniBatchKMeans(
        n_clusters=len(set(categories)), batch_size=BATCH, n_init=1, random_state=SEED
    )
    generator = random.Random(SEED)
    values = []
    for _ in range(DRAWS):
        rows = generator.choices(range(len(vectors)), k=DRAWN)
        values.append(v_measure_score(categories[rows], clustering.fit_predict(vectors[rows])))
    return float(np.mean(values))
