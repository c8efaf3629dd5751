"""--engine and --precision: what embeds, which is prepared with a bar when it is first used."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gritlite.cli.shared.choice import Choice
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.options import combined
from gritlite.cli.shared.tables import size

if TYPE_CHECKING:
    from gritlite.runtime.model import GritLM
    from gritlite.system.progress import ProgressCallback

_Command = TypeVar("_Command", bound=Callable[..., Any])

# as in runtime.engine_choice, whose import is slow
ENGINES = ("auto", "llama", "onnx", "openvino")
PRECISIONS = ("exact", "fast")
_COMPARING = "comparing engines"


def engine_options(default: str = "auto") -> Callable[[_Command], _Command]:
    """--engine and --precision."""
    return combined(
        click.option(
            "--engine",
            type=Choice(ENGINES),
            default=default,
            show_default=True,
            help="What embeds: llama.cpp, a graph in ONNX Runtime or in OpenVINO, or the fastest "
            "of them that agrees with llama.cpp here (docs/embedding.md). GRITLITE_ENGINE says "
            "what auto means.",
        ),
        click.option(
            "--precision",
            type=Choice(PRECISIONS),
            help="Numbers of the graph: the file's, or rounded ones. By default fast if it has "
            "passed its check.",
        ),
    )


def prepare(model: Path, options: dict[str, Any], *, is_first_use: bool, hidden: bool) -> None:
    """Prepare the graph that embeds, with a bar if that takes long.

    A runtime that was asked for by name is prepared, and with `is_first_use` also what "auto"
    finds. `options` are those of `GritLM`. Raises as `prepare_engine`.
    """
    from gritlite.cli.shared.progress import share_bar
    from gritlite.runtime.engine_choice import EngineOptions, most_bytes, prepare_engine

    engine, precision = options.get("engine", "auto"), options.get("precision")
    wanted = EngineOptions(engine, precision, 1, 0).wanted
    if wanted == "llama" or (wanted == "auto" and not is_first_use):
        return
    title = _COMPARING if wanted == "auto" else f"preparing the graph for {wanted}"
    told = False

    def tell() -> None:
        nonlocal told
        if not told:
            told = True
            need = size(most_bytes(model, engine, precision, options.get("gpu_layers", "auto")))
            print_notice(f"{title}, once for {model.name}; up to {need} stay in the cache")

    with share_bar(title, hidden=hidden) as progress:

        def advance(done: int, total: int) -> None:
            tell()
            progress(done, total)

        prepare_engine(model, engine=engine, precision=precision, **_run(options, advance))


def compare(model: Path, options: dict[str, Any]) -> None:
    """Compare the engines anew, with a bar. Raises as `compare_engines`."""
    from gritlite.cli.shared.progress import share_bar
    from gritlite.runtime.engine_choice import compare_engines

    with share_bar(_COMPARING) as progress:
        compare_engines(model, **_run(options, progress))


def _run(options: dict[str, Any], progress: "ProgressCallback") -> dict[str, Any]:
    """How llama.cpp runs, which graphs are compared with, and what is told of it."""
    return {
        "threads": options.get("threads"),
        "gpu_layers": options.get("gpu_layers", "auto"),
        "progress": progress,
    }


def tell_second_copy(model: "GritLM") -> None:
    """Say before both tasks are used what their two copies of the weights take."""
    if model.graph_bytes:
        place = ", on the GPU" if model.embedding_engine.on_device else ""
        print_notice(
            f"the weights are in memory twice: {size(model.file.size)} of the file for answers and "
            f"{size(model.graph_bytes)} of its graph ({model.embeds_with}{place}) for embedding; "
            "--engine llama keeps one copy"
        )
