"""Print the pairs of texts that are each other's nearest: nearest.py TEXTS.txt VECTORS.npy

The vectors have unit length, so their products are cosines.
"""

import sys
from pathlib import Path

import numpy as np

texts = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
vectors = np.load(sys.argv[2])

cosines = vectors @ vectors.T
np.fill_diagonal(cosines, -1)
nearest = cosines.argmax(axis=1).tolist()
pairs = [(a, b) for a, b in enumerate(nearest) if a < b and nearest[b] == a]

for a, b in sorted(pairs, key=lambda pair: -cosines[pair]):
    print(f"{cosines[a, b]:.3f}  {texts[a]}\n       {texts[b]}\n")
