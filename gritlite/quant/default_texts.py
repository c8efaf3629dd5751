"""The calibration text that comes with gritlite: plain words, and prompts for both modes."""

from pathlib import Path

_FOLDER = Path(__file__).parent / "texts"

DEFAULT_TEXTS = (_FOLDER / "prose.txt", _FOLDER / "prompts.jsonl")
