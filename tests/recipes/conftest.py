"""The recipe's modules stand beside each other, as Python finds them when `prepare.py` runs."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "recipes" / "default"))
