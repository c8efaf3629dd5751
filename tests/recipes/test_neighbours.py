"""Texts grouped by meaning."""

import json
from pathlib import Path

import neighbours
import numpy as np


def test_others_are_at_their_ranks_and_never_the_text_itself() -> None:
    angles = np.linspace(0, 1.5, 300)  # text n is nearest to its neighbours in the row
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    texts = [str(n) for n in range(300)]
    groups = dict(neighbours.grouped(texts, vectors))
    assert len(groups) == 300
    first = [int(other) for other in groups["0"]]
    assert first == list(neighbours.RANKS)
    middle = [abs(int(other) - 150) for other in groups["150"]]
    assert middle == [(rank + 1) // 2 for rank in neighbours.RANKS]


def test_a_text_that_stands_twice_is_read_once(tmp_path: Path) -> None:
    rows = {
        "sts": [{"query": "a b", "pos": ["c d"], "score": 0.5}],
        "sentences": [{"query": "c d"}, {"query": "e f"}],
    }
    for name, content in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, content)), "utf-8")
    assert neighbours.read_texts(tmp_path) == ["a b", "c d", "e f"]
