"""The prompt format, and its keys in a file."""

import numpy as np
import pytest

from gritlite import instruction
from gritlite.errors import FormatError
from gritlite.prompt import (
    EmbedFormat,
    after_document,
    cached_question,
    check_normalizer,
    encode_projection,
    is_grit,
)


def test_prompts_are_those_of_the_official_readme() -> None:
    """`gritlm_instruction` of github.com/ContextualAI/gritlm, README.md."""
    assert instruction("Retrieve it") == "<|user|>\nRetrieve it\n<|embed|>\n"
    assert instruction("") == "<|embed|>\n"


def test_the_layout_of_a_document_and_its_question_is_that_of_the_official_readme() -> None:
    """`CACHE_FORMAT_DOC` of github.com/ContextualAI/gritlm, README.md."""
    rendered = f"<s><|user|>\n{cached_question('Who {question}?')}\n<|assistant|>\n"
    assert after_document(rendered, "<s>") == (
        "\n<|user|>\nWho {question}?\n\n"
        "Answer the prior query while optionally using the context prior to it\n<|assistant|>\n"
    )
    assert after_document("<|im_start|>user", "") == "\n<|im_start|>user"


def test_a_format_travels_in_metadata() -> None:
    for embed_format in (
        EmbedFormat(),
        EmbedFormat("doc: ", "q: {instruction}\n", normalize=False, attention="causal"),
    ):
        metadata = embed_format.to_metadata()
        assert EmbedFormat.from_metadata({"general.name": "x", **metadata}) == embed_format
        assert is_grit(metadata)
    assert EmbedFormat.from_metadata({}) == EmbedFormat()
    assert not is_grit({})


def test_words_become_the_prompt_of_the_format() -> None:
    embed_format = EmbedFormat("doc: ", "q: {instruction}\n")
    assert embed_format.with_instruction("find {instruction}") == "q: find {instruction}\n"
    assert embed_format.with_instruction("") == "doc: "
    assert EmbedFormat().with_instruction("a") == instruction("a")
    assert EmbedFormat().with_instruction("") == instruction("")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"grit.embed.prompt": 3}, "grit.embed.prompt is not a str"),
        ({"grit.embed.normalize": "yes"}, "grit.embed.normalize is not a bool"),
        ({"grit.embed.sizes": "many"}, "is not an array of numbers"),
        ({"grit.embed.sizes": np.array([8, 0])}, "holds 0: expected 1 or more"),
        ({"grit.embed.projection": "many!"}, "does not hold, in base64, a square"),
        ({"grit.embed.projection": 3}, "does not hold, in base64, a square"),
        ({"grit.embed.projection": encode_projection(np.ones(8))}, "does not hold, in base64"),
        (
            {
                "general.architecture": "llama",
                "llama.embedding_length": 4,
                "grit.embed.projection": encode_projection(np.full(16, np.inf)),
            },
            "has a NaN or an infinity",
        ),
        ({"grit.embed.pooling": "cls"}, "expected 'mean' or 'last'"),
        ({"grit.embed.attention": "both"}, "expected 'bidirectional' or 'causal'"),
        ({"grit.embed.instruction_prompt": "no field"}, "exactly once"),
        ({"grit.embed.instruction_prompt": "{instruction}{instruction}"}, "exactly once"),
    ],
)
def test_metadata_that_is_wrong(metadata: dict[str, object], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        EmbedFormat.from_metadata(metadata)


def test_forms_of_unicode() -> None:
    assert check_normalizer(None) is None
    assert check_normalizer("NFC") == "NFC"
    with pytest.raises(FormatError, match=r"'nfc': expected one of"):
        check_normalizer("nfc")
