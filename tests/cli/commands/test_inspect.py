"""`gritlite inspect`: the facts about a file, as a table and as JSON."""

import json
import re
from pathlib import Path

import gguf
import numpy as np
import pytest
from click.testing import CliRunner

from gritlite import GritLM
from gritlite.cli.commands.inspect import command
from gritlite.errors import ArchitectureError, FormatError
from gritlite.modelfile.description import TypeShare, describe
from gritlite.modelfile.header import read_header
from gritlite.prompt import EmbedFormat, encode_projection
from tests.sample_gguf import BPE, SPM, rewrite, write_model


def with_keys(source: Path, output: Path, keys: dict[str, str | bool]) -> Path:
    """A copy of a model with more metadata."""

    def add(writer: gguf.GGUFWriter) -> None:
        for name, value in keys.items():
            (writer.add_bool if isinstance(value, bool) else writer.add_string)(name, value)

    return rewrite(source, output, add)


def shown(path: Path, *options: str) -> str:
    result = CliRunner().invoke(command, [str(path), *options], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_facts_of_a_model(tmp_path):
    path = write_model(tmp_path / "m.gguf", SPM)
    facts = describe(read_header(path))
    parameters = sum(int(t.n_elements) for t in gguf.GGUFReader(path).tensors)
    assert (facts.architecture, facts.name, facts.file_type) == ("llama", "tiny", "F32")
    assert (facts.parameters, facts.bits_per_weight) == (parameters, 32.0)
    assert facts.tensor_types == (TypeShare("F32", 20, parameters, 4 * parameters),)
    assert facts.tokenizer.vocabulary == 262
    assert facts.tokenizer.special == {
        "bos": (1, "<s>"), "eos": (2, "</s>"), "unknown": (0, "<unk>")
    }  # fmt: skip
    assert facts.tokenizer.chat_template
    assert facts.grit is None
    assert list(facts.memory_generate) == [128]


def test_grit_metadata_is_reported(tmp_path):
    source = write_model(tmp_path / "m.gguf", BPE)
    grit = EmbedFormat(prompt="<doc>\n", normalize=False)
    path = with_keys(source, tmp_path / "grit.gguf", grit.to_metadata())
    assert describe(read_header(path)).grit == grit
    text = shown(path)
    assert "mean pooling, bidirectional attention, not normalized" in text
    assert r"document prompt           '<doc>\n'" in text
    assert "none: prompts default to GritLM's" in shown(source)


def test_a_projection_is_named_without_its_numbers(tmp_path):
    source = write_model(tmp_path / "m.gguf", BPE)
    width = read_header(source).metadata["llama.embedding_length"]
    keys = {"grit.embed.projection": encode_projection(np.eye(width))}
    path = with_keys(source, tmp_path / "grit.gguf", {**EmbedFormat().to_metadata(), **keys})
    assert "bidirectional attention, a projection, unit length" in shown(path)
    assert json.loads(shown(path, "--json"))["grit"]["projection"] is True


def test_grit_metadata_that_cannot_be_is_an_error(tmp_path):
    source = write_model(tmp_path / "m.gguf", BPE)
    keys = {**EmbedFormat().to_metadata(), "grit.embed.pooling": "cls"}
    path = with_keys(source, tmp_path / "grit.gguf", keys)
    with pytest.raises(FormatError, match="'cls'"):
        describe(read_header(path))


def test_the_table_is_aligned(tmp_path):
    lines = shown(write_model(tmp_path / "m.gguf", BPE)).splitlines()
    column = lines[0].index(str(tmp_path))
    assert all(line[column - 2 : column] == "  " and line[column:].strip() for line in lines)
    assert "tokenizer                 gpt2, pre-tokenizer gpt-2" in lines


def test_json_has_the_same_facts(tmp_path):
    path = write_model(tmp_path / "m.gguf", BPE)
    facts = json.loads(shown(path, "--json"))
    described = describe(read_header(path))
    assert facts["path"] == str(path)
    assert facts["parameters"] == described.parameters
    assert facts["tokenizer"]["special"]["bos"] == [1, "<s>"]
    assert facts["memory_generate"]["128"]["kv_cache"] == described.memory_generate[128].kv_cache


def test_a_name_cannot_drive_the_terminal(tmp_path):
    path = write_model(tmp_path / "m.gguf", BPE)
    path.write_bytes(path.read_bytes().replace(b"tiny", b"\x1b[2J"))
    text = shown(path)
    assert "\x1b" not in text
    assert r"\x1b[2J" in text


def test_a_model_that_does_not_fit_together_is_shown_and_then_an_error(tmp_path):
    path = write_model(tmp_path / "m.gguf", BPE)
    path.write_bytes(path.read_bytes().replace(b"output_norm.weight", b"output_form.weight"))
    result = CliRunner().invoke(command, [str(path)])
    assert "architecture" in result.stdout
    assert isinstance(result.exception, ArchitectureError)


def test_what_cannot_be_checked_is_shown_and_whether_it_was_tried(tmp_path, cache_folder):
    path = write_model(tmp_path / "m.gguf", BPE, arch="dream")
    text = shown(path)
    assert re.search("^not checked +architecture 'dream'$", text, re.MULTILINE)
    assert "tried in a child process when the model is first loaded" in text
    found = json.loads(shown(path, "--json"))
    assert (found["unchecked"], found["trial"]) == (["architecture 'dream'"], None)

    with pytest.raises(ArchitectureError):
        GritLM(path, threads=1)
    result = CliRunner().invoke(command, [str(path)])
    assert "tried: llama.cpp fails: killed by SIGABRT while generating" in result.stdout
    assert isinstance(result.exception, ArchitectureError)
    result = CliRunner().invoke(command, [str(path), "--json"])
    assert "SIGABRT" in json.loads(result.stdout)["trial"]["problem"]


def test_a_model_that_is_checked_has_no_such_row(tmp_path):
    path = write_model(tmp_path / "m.gguf", BPE)
    assert "not checked" not in shown(path)
    found = json.loads(shown(path, "--json"))
    assert (found["unchecked"], found["trial"]) == ([], None)


def test_a_file_for_embedding_is_shown_as_one(tmp_path):
    keys = {"llama.attention.causal": False, "grit.embed.include_prompt": True}
    keys |= EmbedFormat().to_metadata()
    path = with_keys(write_model(tmp_path / "m.gguf", BPE), tmp_path / "embed.gguf", keys)
    assert re.search("^tasks +embedding only$", shown(path), re.MULTILINE)
    assert "mean pooling with the prompt, bidirectional" in shown(path)
    assert not re.search("^generate, ", shown(path), re.MULTILINE)
    assert json.loads(shown(path, "--json"))["embeds_only"] is True
