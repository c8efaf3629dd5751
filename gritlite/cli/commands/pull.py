"""`gritlite pull`: fetch a model into the cache."""

import click

from gritlite.cli.shared.pulling import fetch
from gritlite.system.catalog import CATALOG


def _complete_name(_context: click.Context, _argument: click.Parameter, begun: str) -> list[str]:
    """Complete the name of a model of the catalog."""
    return [name for name in CATALOG if name.startswith(begun)]


@click.command()
@click.argument("name", default="default", shell_complete=_complete_name)
@click.option("--revision", metavar="R", help="Branch, tag or commit of a Hugging Face repository.")
@click.option("--force", is_flag=True, help="Fetch the model even if it is in the cache.")
def command(name: str, revision: str | None, force: bool) -> None:
    """Fetch a model into the cache and print its path.

    NAME is `default` (fetched without NAME too), `base`, or a Hugging Face repository:
    org/name, or org/name:file.gguf if it holds several GGUF files. Every command that takes a
    model accepts the same names, and finds a repository that lies in the Hugging Face
    cache without pulling it.

    `base` is SmolLM2-135M-Instruct (98 MB), which only generates. `default` is `base`
    merged with an adapter that comes with gritlite, and also embeds (146 MB). Pulling
    `default` does not keep `base`; pull that too if you want both.

    The cache is the folder $GRITLITE_CACHE, or else the system's usual one.
    """
    click.echo(fetch(name, revision=revision, force=force))
