"""Messages to the user that are not results."""

import sys
from contextlib import nullcontext

import click

from gritlite.cli.shared.word_wrap import wrapped


def print_notice(text: str) -> None:
    """Write a line to standard error, after the program's name, above a progress bar."""
    bars = sys.modules.get("tqdm")
    with bars.tqdm.external_write_mode(file=sys.stderr) if bars else nullcontext():
        click.echo(wrapped(f"gritlite: {text}", sys.stderr), err=True)
