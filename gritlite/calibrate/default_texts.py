"""The texts that come with gritlite, for calibration and for comparing files."""

from pathlib import Path

_FOLDER = Path(__file__).parent / "data"

DEFAULT_TEXTS = (_FOLDER / "prose.txt", _FOLDER / "prompts.jsonl")
COMPARISON_TEXTS = (_FOLDER / "comparison.txt",)
