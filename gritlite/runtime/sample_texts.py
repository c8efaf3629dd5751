"""The texts that come with gritlite, for calibration and for comparing files and engines."""

import json
import re
from pathlib import Path

_FOLDER = Path(__file__).parent / "data"

DEFAULT_TEXTS = (_FOLDER / "prose.txt", _FOLDER / "prompts.jsonl")
COMPARISON_TEXTS = (_FOLDER / "comparison.txt",)


def calibration_prose() -> str:
    """The prose of the texts for calibration."""
    return DEFAULT_TEXTS[0].read_text("utf-8")


def calibration_chats() -> list[list[dict[str, str]]]:
    """The chats of the texts for calibration, each a list of messages."""
    lines = DEFAULT_TEXTS[1].read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["messages"] for row in rows if "messages" in row]


def paragraphs(text: str) -> list[str]:
    """The parts of a text between blank lines."""
    parts = (part.strip() for part in re.split(r"\n\s*\n", text))
    return [part for part in parts if part]
