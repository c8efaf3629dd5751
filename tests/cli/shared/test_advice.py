"""The advice that commands add to errors of the library."""

import click
import pytest
from click.testing import CliRunner

from gritlite.cli.shared.advice import advice, advised_message
from gritlite.cli.shared.options import force_option, running_options
from gritlite.errors import FileError, FormatError, GritLiteError, OutputExistsError
from gritlite.runtime.llama import library


def raised(option, error):
    """What a command with `option` makes of an error."""

    @click.command()
    @option
    def command(**_):
        raise error

    result = CliRunner().invoke(command, [], standalone_mode=False)
    assert result.exception is error
    return advised_message(error)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileError("a is missing"), "a is missing; look for it"),
        (OutputExistsError("a is missing"), "a is missing; look for it"),
        (FileError("a is a folder"), "a is a folder"),
        (FormatError("a is missing"), "a is missing"),
    ],
)
def test_advice_is_for_one_kind_of_error(error, message):
    with pytest.raises(GritLiteError) as caught, advice(FileError, "look for it", about="missing"):
        raise error
    assert advised_message(caught.value) == message


def test_an_output_that_exists_can_be_replaced():
    message = raised(force_option(), OutputExistsError("a exists already"))
    assert message == "a exists already; pass --force to replace it, or name another output"


def test_the_log_is_offered_where_llama_cpp_gave_no_reason():
    library.clear_messages()
    message = raised(running_options, FormatError(f"cannot load a: {library.last_message()}"))
    assert message == "cannot load a: llama.cpp gave no reason; --verbose shows its log"
    assert raised(running_options, FormatError("a is empty")) == "a is empty"
