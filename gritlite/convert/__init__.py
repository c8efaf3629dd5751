"""Trained weights in, one file out: Hugging Face checkpoints become GGUF."""

from gritlite.convert.conversion import Progress, Report, convert
from gritlite.convert.stamping import stamp

__all__ = ["Progress", "Report", "convert", "stamp"]
