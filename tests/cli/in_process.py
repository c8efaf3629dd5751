"""A command in this process, with a model: errors come through."""

from click.testing import CliRunner


def invoke(command, model, *arguments):
    """Run a command; returns click's result, or raises what the command raised."""
    line = ["--model", str(model), "--threads", "1", *map(str, arguments)]
    result = CliRunner().invoke(command, line, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result
