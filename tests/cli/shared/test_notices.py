"""What commands say about a model on standard error, once."""

import pytest

from gritlite.cli.commands import chat as chat_command
from gritlite.cli.commands import embed as embed_command
from gritlite.cli.commands import inspect as inspect_command
from gritlite.errors import ArchitectureError
from tests.cli.in_process import index, invoke
from tests.sample_gguf import rewrite, write_model

UNTRAINED = "does not say that it was trained to embed"


@pytest.fixture
def untrained(tmp_path):
    return write_model(tmp_path / "base.gguf")


def test_a_model_that_is_not_known_to_embed(untrained, model, tmp_path):
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("one\n")
    for chosen, count in ((untrained, 1), (model, 0)):
        said = invoke(embed_command.command, chosen, tmp_path / "a.txt").stderr
        assert said.count(UNTRAINED) == count
        store = tmp_path / f"{count}.grit"
        said = index(chosen, tmp_path / "docs", "--store", store).stderr
        assert said.count(UNTRAINED) == count


def test_inspect_shows_what_is_known(untrained, model):
    from click.testing import CliRunner

    for path, words in ((untrained, "not known"), (model, "yes")):
        result = CliRunner().invoke(inspect_command.command, [str(path)])
        line = next(line for line in result.stdout.splitlines() if "trained to embed" in line)
        assert line.endswith(words)


def test_a_model_that_only_embeds_does_not_chat(untrained, tmp_path):
    path = rewrite(
        untrained,
        tmp_path / "only.gguf",
        lambda writer: writer.add_bool("grit.generate.supported", False),
    )
    with pytest.raises(ArchitectureError, match=r"only\.gguf only embeds"):
        invoke(chat_command.command, path, "--prompt", "hello")
