"""Commands in this process, whose errors are raised in the test."""

from click.testing import CliRunner

from gritlite.cli.commands import index as index_command
from gritlite.cli.commands import search as search_command


def invoke(command, model, *arguments):
    """Run a command with a model. Returns click's result, or raises the command's error."""
    line = ["--model", str(model), "--threads", "1", *map(str, arguments)]
    result = CliRunner().invoke(command, line, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


def index(model, *arguments):
    """Run `gritlite index`."""
    return invoke(index_command.command, model, *arguments)


def search(model, *arguments):
    """Run `gritlite search`."""
    return invoke(search_command.command, model, *arguments)
