"""Options that several commands share, and the loading of a model with them."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from gritlite.runtime.model import GritLM

ALL_TOKENS = sys.maxsize
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_Command = TypeVar("_Command", bound=Callable[..., Any])


def combined(*options: Callable[[Any], Any]) -> Callable[[_Command], _Command]:
    """Several options as one decorator; they are listed in this order."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def texts_option(help: str) -> Callable[[Any], Any]:
    """--texts FILE, as `files`."""
    return click.option(
        "--texts",
        "files",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=help,
    )


_LARGEST = 2.0**62  # bytes


def byte_count(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """The bytes of a size that people write, as 4.0GiB or 700MB: a callback for options."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", value.strip())
    if match is None or match[2].upper() not in _UNITS:
        raise click.BadParameter(f"{value!r} is no size: write 4.0GiB, 700MB or bytes")
    size = float(match[1]) * _UNITS[match[2].upper()]
    if size > _LARGEST:
        raise click.BadParameter(f"{value!r} is more than any file has")
    return int(size)


def tokens_or_all(
    _context: click.Context, _option: click.Parameter, value: str | tuple[str, ...]
) -> int | tuple[int, ...]:
    """Numbers of tokens, "all" as one larger than any: a callback for options."""
    if isinstance(value, tuple):
        return tuple(map(_token_count, value))
    return _token_count(value)


def _token_count(value: str) -> int:
    if value == "all":
        return ALL_TOKENS
    if value.isascii() and value.isdecimal():
        return int(value)
    raise click.BadParameter(f"{value!r} is neither a number of tokens nor 'all'")


def load(model: str, *, verbose: bool, **options: Any) -> "GritLM":
    """Load a model, with llama.cpp's log on standard error if `verbose`."""
    from gritlite.runtime.llama import set_verbose
    from gritlite.runtime.model import GritLM

    set_verbose(verbose)
    return GritLM(model, **options)


def _gpu_layers(_context: click.Context, _option: click.Parameter, value: str) -> int | str:
    if value in ("all", "auto"):
        return value
    if value.isascii() and value.isdecimal():
        return int(value)
    raise click.BadParameter(f"{value!r} is neither a number of layers nor 'all' nor 'auto'")


running_options = combined(
    click.option(
        "--threads", type=click.IntRange(min=1), help="Threads; the physical cores by default."
    ),
    click.option(
        "--gpu-layers",
        callback=_gpu_layers,
        metavar="N|all|auto",
        default="auto",
        show_default=True,
        help="Layers to put on a GPU; auto means all where there is one.",
    ),
    click.option("--verbose", is_flag=True, help="Show llama.cpp's own log."),
)

model_options = combined(
    click.option(
        "-m",
        "--model",
        default="default",
        show_default=True,
        help="A GGUF file, or the name of a pulled model.",
    ),
    running_options,
)
