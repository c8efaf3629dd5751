"""Begin a training from an adapter that an earlier one made, of the same rank or a smaller one.

The added rows begin as a new adapter's do: what the model computes is the earlier adapter's.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gritlite.convert.adapter import WEIGHTS
from gritlite.convert.lora_config import LoraConfig, read_lora_config
from gritlite.convert.pretrained import loading
from gritlite.errors import FileError, FormatError
from gritlite.train.recipe import Adapter

_PREFIX, _B = "base_model.model.", ".lora_B.default.weight"


def begin_from(
    folder: Path, parameters: Mapping[str, torch.nn.Parameter], adapter: Adapter
) -> None:
    """Set the parameters of an adapter to those in a folder that PEFT wrote.

    Raises FileError if there is no adapter, and FormatError if it adapts other modules or has
    a higher rank.
    """
    from safetensors.torch import load_file

    config = read_lora_config(folder)
    if not (folder / WEIGHTS).is_file():
        raise FileError(f"{folder} has no {WEIGHTS}: save the adapter with safe_serialization=True")
    with loading(folder):
        stored = load_file(folder / WEIGHTS)
    wanted = {name.replace(".default.", "."): name for name in parameters}
    if stored.keys() != wanted.keys():
        odd = sorted(stored.keys() ^ wanted.keys())[0]
        raise FormatError(f"{folder} does not adapt the modules of this base: see {odd}")
    for name, parameter in wanted.items():
        _set(parameters[parameter], _rescaled(stored[name], parameter, config, adapter), folder)


def _rescaled(stored: Tensor, name: str, config: LoraConfig, adapter: Adapter) -> Tensor:
    """A matrix B that makes the same product with this run's scale as with its own."""
    if not name.endswith(_B):
        return stored.float()
    module = name.removeprefix(_PREFIX).removesuffix(_B)
    scale = config.alpha_of(module) / config.rank_of(module)
    return stored.float() * (scale * adapter.rank / adapter.alpha)


def _set(parameter: torch.nn.Parameter, values: Tensor, folder: Path) -> None:
    rows, columns = values.shape
    if any(size > most for size, most in zip(values.shape, parameter.shape, strict=True)):
        raise FormatError(
            f"{folder} has a matrix of {rows} x {columns}, and this run has one of "
            f"{' x '.join(map(str, parameter.shape))}: give adapter.rank at least its rank"
        )
    with torch.no_grad():
        parameter[:rows, :columns] = values.to(parameter.device)
