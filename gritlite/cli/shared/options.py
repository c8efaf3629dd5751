"""Options that several commands share, and loading a model with them."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gritlite.cli.shared.advice import advice
from gritlite.cli.shared.notices import print_origin
from gritlite.cli.shared.pulling import locate_or_pull, pull_option
from gritlite.errors import GritLiteError, NotFiniteError, OutOfMemoryError, OutputExistsError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from gritlite.runtime.model import GritLM

ALL_TOKENS = sys.maxsize
# the parameters of `running_options` and `engine_options`, which `load_model` takes
RUNNING = ("threads", "gpu_layers", "verbose", "engine", "precision")
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_LARGEST = 2.0**62  # bytes
_Command = TypeVar("_Command", bound=Callable[..., Any])


def combined(*decorators: Callable[[Any], Any]) -> Callable[[_Command], _Command]:
    """Several options as one decorator; the help lists them in this order."""

    def decorate(command: _Command) -> _Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def texts_option(help: str) -> Callable[[Any], Any]:
    """--texts FILE, repeatable, as the parameter `files`."""
    return click.option(
        "--texts",
        "files",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=help,
    )


def force_option(help: str = "Replace the output if it exists.") -> Callable[[Any], Any]:
    """--force, which an error about an existing output then names."""
    return combined(
        click.option("--force", is_flag=True, help=help),
        advice(OutputExistsError, "pass --force to replace it, or name another output"),
    )


def parse_size(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """Bytes of a size such as 4.0GiB or 700MB: a callback for options."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", value.strip())
    if match is None or match[2].upper() not in _UNITS:
        raise click.BadParameter(f"{value!r} is not a size: write 4.0GiB, 700MB or bytes")
    size = float(match[1]) * _UNITS[match[2].upper()]
    if size > _LARGEST:
        raise click.BadParameter(f"{value!r} is larger than any file can be")
    return int(size)


def parse_token_counts(
    _context: click.Context, _option: click.Parameter, value: str | tuple[str, ...] | None
) -> int | tuple[int, ...] | None:
    """Numbers of tokens, with ALL_TOKENS for "all": a callback for options."""
    if isinstance(value, tuple):
        return tuple(map(_parse_token_count, value))
    return None if value is None else _parse_token_count(value)


def _parse_token_count(value: str) -> int:
    if value == "all":
        return ALL_TOKENS
    if value.isascii() and value.isdecimal():
        return int(value)
    raise click.BadParameter(f"{value!r} is neither a number of tokens nor 'all'")


def complete_model(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Complete the name of a pulled model, or of a file."""
    from click.shell_completion import CompletionItem

    from gritlite.system.locate import pulled_models

    names = [name for name in pulled_models() if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, names)]


def load_model(
    model: str,
    *,
    verbose: bool,
    generates: bool = False,
    prepares: bool = False,
    **options: Any,
) -> "GritLM":
    """Load a model, with llama.cpp's log on standard error if `verbose`.

    A missing one is fetched if it may be (`locate_or_pull`). With `generates` it must not be
    one that only embeds. With `prepares` the engines are compared when a file is first used.
    """
    from gritlite.cli.shared.engines import prepare
    from gritlite.cli.shared.progress import waiting
    from gritlite.runtime.llama import set_verbose
    from gritlite.runtime.model import GritLM

    path = locate_or_pull(model)
    set_verbose(verbose)
    prepare(path, options, is_first_use=prepares, hidden=verbose)
    with waiting("loading", hidden=verbose):
        loaded = GritLM(model, **options)
    print_origin(loaded.path)
    if generates:
        try:
            loaded.check_generates()
        except GritLiteError:
            loaded.close()
            raise
    return loaded


def _parse_gpu_layers(_context: click.Context, _option: click.Parameter, value: str) -> int | str:
    if value in ("all", "auto"):
        return value
    if value.isascii() and value.isdecimal():
        return int(value)
    raise click.BadParameter(f"{value!r} is neither a number of layers nor 'all' nor 'auto'")


setting_options = combined(
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="Number of threads; by default one for each physical core.",
    ),
    click.option(
        "--gpu-layers",
        callback=_parse_gpu_layers,
        metavar="N|all|auto",
        default="auto",
        show_default=True,
        help="Number of layers to put on a GPU; auto means all if there is a GPU.",
    ),
)

running_options = combined(
    setting_options,
    click.option("--verbose", is_flag=True, help="Show llama.cpp's log."),
    pull_option,
    advice(GritLiteError, "--verbose shows its log", about="llama.cpp gave no reason"),
    advice(NotFiniteError, "gritlite inspect --check reads every weight"),
)

context_option = combined(
    click.option(
        "--context-length", type=click.IntRange(min=1), help="Size of the context in tokens."
    ),
    advice(OutOfMemoryError, "--context-length sets its size", about="context of"),
)

model_options = combined(
    click.option(
        "-m",
        "--model",
        default="default",
        show_default=True,
        shell_complete=complete_model,
        help="A GGUF file, or the name of a pulled model.",
    ),
    running_options,
)
