"""Options of the commands that read a store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gritlite.cli.shared.choice import Choice
from gritlite.cli.shared.metadata_options import where_option
from gritlite.cli.shared.options import combined

store_option: Callable[[Any], Any] = click.option(
    "--store",
    "store_path",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The store's file.",
)


def search_options(count: int, min_score: str = "") -> Callable[[Any], Any]:
    """How passages are searched; `count` of them by default. `min_score` tells its default."""
    return combined(
        click.option(
            "-k",
            "count",
            type=click.IntRange(min=1),
            default=count,
            show_default=True,
            help="Number of passages.",
        ),
        click.option(
            "--by",
            "mode",
            type=Choice(("hybrid", "vectors", "words")),
            default="hybrid",
            show_default=True,
            help="Search by meaning, by the question's words, or by both.",
        ),
        click.option(
            "--rerank",
            type=click.IntRange(min=0),
            default=0,
            metavar="N",
            help="Reorder the best N passages by how likely the model finds the question after "
            "each of them.",
        ),
        click.option(
            "--min-score",
            type=float,
            metavar="SCORE",
            help=f"Leave out passages with a lower score; 0: none.{min_score}",
        ),
        click.option(
            "--instruction",
            default="",
            metavar="WORDS",
            help="What the question is embedded for.",
        ),
        where_option,
    )
