"""The command `gritlite`: a table of commands, each imported when it runs.

`gritlite --help` uses the table only. Each command is the `command` of its own module;
`console` prints errors.
"""

import importlib
import sys

import click

from gritlite.cli.shared import console
from gritlite.version import __version__

COMMANDS = {
    "pull": "Fetch a model into the cache and print its path.",
    "convert": "Convert a Hugging Face checkpoint or a GGUF file to GGUF.",
    "calibrate": "Compute an importance matrix from passes in both modes.",
    "quantize": "Quantize a GGUF file.",
    "compare": "Compare quantized files with a reference in both tasks.",
    "inspect": "Show what a GGUF model contains and how much memory it needs.",
    "embed": "Turn texts into vectors.",
    "chat": "Chat with a model.",
    "index": "Read documents into a store that can be searched.",
    "search": "Show the passages of a store that match a query.",
    "ask": "Answer a question from the passages of a store.",
    "store": "Inspect and maintain a store.",
    "serve": "Serve a model to programs that speak OpenAI's or Ollama's interface.",
    "cache": "List and remove the graphs of faster engines, and compare the engines again.",
    "train": "Train an adapter for both tasks from a recipe.",
    "eval": "Evaluate a model on local test sets.",
    "completion": "Set up a shell to complete gritlite's commands by Tab.",
    "doctor": "Show what this machine and its llama.cpp build can do.",
}


class LazyGroup(click.Group):
    """A group whose commands are the modules `gritlite.cli.commands.NAME`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names in the table, in its order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, whose module is imported now; None if the table lacks the name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(
            f"gritlite.cli.commands.{cmd_name}"
        ).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an error about an unknown name suggests one of the table."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks of errors.")
@click.version_option(__version__, prog_name="gritlite")
def cli() -> None:
    """One quantized GritLM file that embeds text and generates it."""


def main() -> None:
    """Run the command line and exit."""
    console.fill_closed_streams()
    console.escape_unencodable()
    console.warnings_as_lines()
    try:
        # looked up before parsing, so that parsing errors are covered too
        with console.one_line_errors(debug="--debug" in sys.argv):
            console.unwind_on_signals()
            status = cli.main(prog_name="gritlite", standalone_mode=False)
            sys.exit(status if isinstance(status, int) else 0)
    finally:
        console.end_on_interrupt()
