"""What the checks do not know is named; what gritlite itself writes is all known."""

import pytest

from gritlite.convert.pretokenizers import NAMES
from gritlite.errors import FormatError
from gritlite.modelfile.header import read_header
from gritlite.modelfile.unchecked import PRE_TOKENIZERS, unchecked_parts
from tests.modelfile.test_check import with_key, without_key
from tests.sample_gguf import BPE, SPM, write_model
from tests.tiny import CASES


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return read_header(write_model(tmp_path_factory.mktemp("m") / "m.gguf", BPE))


@pytest.mark.parametrize("case", CASES)
def test_all_that_gritlite_converts_is_known(tiny_file, case):
    assert unchecked_parts(read_header(tiny_file(case))) == ()


def test_every_pre_tokenizer_that_gritlite_writes_is_known():
    assert set(NAMES.values()) <= PRE_TOKENIZERS


def test_a_sentencepiece_model_is_known(tmp_path):
    assert unchecked_parts(read_header(write_model(tmp_path / "m.gguf", SPM))) == ()


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("tokenizer.ggml.model", "bert", "tokenizer 'bert'"),
        ("tokenizer.ggml.pre", "kimi-k2", "pre-tokenizer 'kimi-k2'"),
        ("tokenizer.ggml.pre", ["gpt-2"], "pre-tokenizer that is no name"),
        ("llama.attention.scale", 0.5, "metadata key 'llama.attention.scale'"),
        (
            "tokenizer.ggml.precompiled_charsmap",
            [1],
            "metadata key 'tokenizer.ggml.precompiled_charsmap'",
        ),
    ],
)
def test_what_is_not_known_is_named(file, key, value, part):
    assert unchecked_parts(with_key(file, key, value)) == (part,)


def test_an_architecture_is_named_without_its_keys(tmp_path):
    file = read_header(write_model(tmp_path / "m.gguf", BPE, arch="gemma3"))
    assert unchecked_parts(file) == ("architecture 'gemma3'",)


def test_a_file_without_an_architecture(file):
    with pytest.raises(FormatError, match=r"general\.architecture is missing"):
        unchecked_parts(without_key(file, "general.architecture"))
