"""Messages to the user that are not results."""

import click


def print_notice(text: str) -> None:
    """Write a line to standard error, after the program's name."""
    click.echo(f"gritlite: {text}", err=True)
