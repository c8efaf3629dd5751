"""Average two adapters of one rank, of which the second was trained on from the first.

    python recipes/default/average.py build/longer/adapter build/further/adapter -o build/default

Writes the mean of their matrices, in float16, with the second's config. Most of what either piece
gained stays: "Robust fine-tuning of zero-shot models", arXiv 2109.01903. projection.py then finds
the projection of what this writes.
"""

import argparse
import shutil
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from gritlite.convert.adapter import WEIGHTS
from gritlite.errors import FormatError, GritLiteError
from gritlite.system.files import atomic_write
from gritlite.train.run import with_sorted_metadata

CONFIG = "adapter_config.json"


def main() -> None:
    """Parse the command line and write the adapter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the adapter")
    options = parser.parse_args()
    try:
        average(options.first, options.second, options.output)
    except (GritLiteError, OSError) as error:
        sys.exit(f"error: {error}")


def average(first: Path, second: Path, output: Path) -> None:
    """Write the mean of two adapters. Raises FormatError if they have not the same tensors."""
    ones, _ = read(first)
    others, metadata = read(second)
    if {name: one.shape for name, one in ones.items()} != {
        name: other.shape for name, other in others.items()
    }:
        raise FormatError(f"{first} and {second} are not of the same base and rank")
    means = {name: ((ones[name] + other) / 2).half() for name, other in others.items()}
    output.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(second / CONFIG, output / CONFIG)
    with atomic_write(output / WEIGHTS, force=True) as file:
        file.write(with_sorted_metadata(means, metadata))


def read(adapter: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of an adapter as float32, and its metadata."""
    tensors = {name: tensor.float() for name, tensor in load_file(adapter / WEIGHTS).items()}
    with safe_open(adapter / WEIGHTS, "pt") as file:
        return tensors, file.metadata()


if __name__ == "__main__":
    main()
