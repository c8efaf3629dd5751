"""`gritlite serve`: one model over HTTP, for programs that speak OpenAI's or Ollama's interface."""

import json
import logging
import os
import secrets
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.advice import advice
from gritlite.cli.shared.choice import Choice
from gritlite.cli.shared.engines import engine_options
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.options import complete_model, context_option, running_options
from gritlite.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from gritlite.serve.settings import Settings

KEY_VARIABLE = "GRITLITE_KEY"


def _refuse_workers(_context: click.Context, _option: click.Parameter, value: object) -> None:
    if value is not None:
        raise click.BadParameter(
            "several processes would each hold a copy of the weights: --parallel answers several "
            "requests at once from one"
        )


@click.command()
@click.argument("model", default="default", shell_complete=complete_model)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; others than this machine's own need a key.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 is any that is free.",
)
@click.option(
    "--uds", type=click.Path(path_type=Path), help="Listen on this Unix socket, not on a port."
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help=f"File of the key that requests must carry; otherwise {KEY_VARIABLE} may have one.",
)
@click.option(
    "--store",
    "stores",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Store to search. The model NAME+STORE, with the file's name without its ending, answers "
    "from it. Repeatable.",
)
@click.option("--name", help="What clients call the model.  [default: MODEL, or its file's name]")
@running_options
@context_option
@engine_options()
@click.option(
    "--parallel",
    type=click.IntRange(min=1, max=64),
    default=4,
    show_default=True,
    help="Answers that are generated at once.",
)
@click.option(
    "--together",
    type=Choice(["1", "2", "4", "8", "16"]),
    default="1",
    show_default=True,
    help="Of these, answers that are decoded in one batch, each in memory of its own: faster for "
    "several clients, slower for one.",
)
@click.option(
    "--queue",
    type=click.IntRange(min=0),
    default=64,
    show_default=True,
    help="Requests that may wait; others are told to come back.",
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate, for https.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="The certificate's key.")
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Web pages that may use the server besides this machine's own. Repeatable.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Name by which clients reach this machine. Repeatable.",
)
@click.option(
    "--ready-json",
    is_flag=True,
    help="Print one line of JSON with url, pid and key once the model is ready; without a key one "
    "is made up.",
)
@click.option("--parent-pid", type=click.IntRange(min=1), help="End when this process ends.")
@click.option("--end-with-input", is_flag=True, help="End when standard input ends.")
@click.option("--workers", hidden=True, expose_value=False, callback=_refuse_workers)
def command(
    model: str,
    stores: tuple[Path, ...],
    name: str | None,
    key_file: Path | None,
    ready_json: bool,
    parent_pid: int | None,
    together: str,
    end_with_input: bool,
    **choices: Any,
) -> None:
    """Serve a model to programs that speak OpenAI's or Ollama's interface.

    MODEL is a GGUF file, or the name of a pulled model. Chat, embeddings and answers from stores
    come from one copy of the weights; docs/serve.md has an example for each client.
    """
    run, settings_class = _server()
    from gritlite.cli.shared.options import load_model
    from gritlite.cli.shared.pulling import locate_or_pull

    key = _key(key_file)
    if key is None and ready_json:
        key = secrets.token_urlsafe(32)
    options = {
        name: choices.pop(name)
        for name in ("threads", "gpu_layers", "verbose", "engine", "precision", "context_length")
    }
    with advice(UsageError, f"it comes from --key-file or {KEY_VARIABLE}", about="give a key"):
        settings = settings_class(
            name=name or _name_of(model), stores=_by_name(stores), key=key, **choices
        )
    options["parallel"] = int(together)
    locate_or_pull(model)  # a wrong name ends the command before anything listens

    _log_lines()

    def ready(url: str) -> None:
        if ready_json:
            click.echo(json.dumps({"url": url, "pid": os.getpid(), "key": settings.key}))
        else:
            also = ", and at this machine's other addresses" if settings.is_everywhere else ""
            print_notice(f"{settings.name} is served at {url}{also}; end with Ctrl-C")

    run(
        settings,
        lambda: load_model(model, **options),
        ready=ready,
        parent_pid=parent_pid,
        ends_with_input=end_with_input,
    )


def _server() -> "tuple[Any, type[Settings]]":
    try:
        from gritlite.serve.server import run
        from gritlite.serve.settings import Settings
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "serve", "the server") from error
    return run, Settings


class _Lines(logging.Handler):
    """Writes what the server logs as lines like the command line's own."""

    def __init__(self, *, with_tracebacks: bool) -> None:
        super().__init__()
        self._with_tracebacks = with_tracebacks

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        if self._with_tracebacks and record.exc_info:
            traceback.print_exception(record.exc_info[1])
        print_notice(f"{record.levelname.lower()}: {record.getMessage()}")


def _log_lines() -> None:
    logger = logging.getLogger("gritlite.serve")
    logger.addHandler(_Lines(with_tracebacks="--debug" in sys.argv))
    logger.propagate = False


def _key(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(KEY_VARIABLE) or None
    from gritlite.system.textfiles import read_text

    key = read_text(file).strip()
    if not key:
        raise UsageError(f"{file} is empty: write the key into it")
    return key


def _name_of(model: str) -> str:
    """What clients call a model: the file's name without its ending, or the name as given."""
    return Path(model).stem if Path(model).exists() else model


def _by_name(paths: tuple[Path, ...]) -> dict[str, Path]:
    stores: dict[str, Path] = {}
    for path in paths:
        if path.stem in stores:
            raise UsageError(
                f"{stores[path.stem]} and {path} would both be called {path.stem}: rename one"
            )
        stores[path.stem] = path
    return stores
