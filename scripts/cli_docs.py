"""Write docs/cli.md from every command's --help; with --check, only say whether it is stale."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from gritlite.cli.main import COMMANDS, cli

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
WIDTH = 90


def page() -> str:
    """The page as it should be."""
    return "\n".join(["# The command line", "", "Made by `make docs`; do not edit.", "", *_parts()])


def _parts() -> Iterator[str]:
    yield from _part("gritlite", cli, None)
    group = click.Context(cli, info_name="gritlite", **cli.context_settings)
    for name in COMMANDS:
        command = cli.get_command(group, name)
        assert command is not None, name
        yield from _part(f"gritlite {name}", command, group)


def _part(title: str, command: click.Command, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(
        command,
        info_name=title.split()[-1],
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        **command.context_settings,
    )
    yield from (f"## {title}", "", "```", command.get_help(context), "```", "")
    if isinstance(command, click.Group) and parent is not None:
        for name, part in sorted(command.commands.items()):
            yield from _part(f"{title} {name}", part, context)


def main() -> None:
    """Write the page, or compare it with --check."""
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/cli.md is stale: run  make docs")


if __name__ == "__main__":
    main()
