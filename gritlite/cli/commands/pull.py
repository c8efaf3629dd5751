"""`gritlite pull`: fetch a model into the cache."""

import os

import click


@click.command()
@click.argument("name", default="default")
@click.option("--revision", metavar="R", help="Branch, tag or commit of a Hugging Face repository.")
@click.option("--force", is_flag=True, help="Fetch again what is there already.")
def command(name: str, revision: str | None, force: bool) -> None:
    """Fetch a model into the cache and print its path.

    NAME is `default`, `base`, or a Hugging Face repository: org/name, or
    org/name:file.gguf where it holds several GGUF files. Every command that takes a
    model takes the same names.

    `base` is SmolLM2-135M-Instruct (98 MB), which generates only. `default` is made of
    it and of an adapter that comes with gritlite, and embeds as well (145 MB).

    The cache is $GRITLITE_CACHE, or the system's usual place for caches.
    """
    # its warnings about retries would come between our lines; set before it is imported
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    from gritlite.pull.models import pull

    path = pull(name, revision=revision, force=force, notify=_tell)
    click.echo(path)


def _tell(message: str) -> None:
    click.echo(f"gritlite: {message}", err=True)
