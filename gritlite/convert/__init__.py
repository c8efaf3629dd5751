"""Convert checkpoints and GGUF files to GGUF files of any type, with LoRA adapters merged."""

from gritlite.convert.adapter_gguf import write_adapter
from gritlite.convert.conversion import ConversionProgress, ConversionReport, convert
from gritlite.convert.grit_metadata import add_grit_metadata

__all__ = [
    "ConversionProgress",
    "ConversionReport",
    "add_grit_metadata",
    "convert",
    "write_adapter",
]
