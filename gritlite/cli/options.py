"""Options that several commands share, and the loading of a model with them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from gritlite.runtime.model import GritLM

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
