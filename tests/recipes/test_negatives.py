"""Hard negatives: near to the query, not its own, and not nearly as near."""

import numpy as np
from negatives import NEARLY, NEGATIVES, RANKS, with_negatives
from numpy.typing import NDArray


def on_a_circle(texts: list[str]) -> NDArray[np.float32]:
    """Texts are numbers of degrees."""
    angles = np.radians([float(text.split()[-1]) for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_negatives_are_near_and_not_nearly_as_near_as_the_own_passage() -> None:
    rows = [{"query": f"q {n}", "pos": [f"passage {n}"]} for n in range(360)]
    rows[0] = rows[0] | {"query": ["Find it", "q 0"]}
    made = list(with_negatives(rows, on_a_circle))
    assert [row["query"] for row in made] == [row["query"] for row in rows]
    for place, row in enumerate(made):
        assert len(row["neg"]) == NEGATIVES
        for text in row["neg"]:
            degrees = abs((float(text.split()[-1]) - place + 180) % 360 - 180)
            assert np.cos(np.radians(degrees)) < NEARLY  # the own passage's similarity is 1
            assert degrees <= RANKS.stop / 2


def test_a_file_with_few_passages_has_fewer_negatives() -> None:
    rows = [{"query": f"q {90 * n}", "pos": [f"p {90 * n}"]} for n in range(4)]
    assert [row["neg"] for row in with_negatives(rows, on_a_circle)] == [[], [], [], []]
