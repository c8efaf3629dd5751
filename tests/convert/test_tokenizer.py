"""Tokenizers carry over token for token, or are refused."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import Tokenizer

from gritlite.convert import convert
from gritlite.convert.tokenizer import read_tokenizer
from gritlite.convert.vocabulary import TokenType, Vocabulary
from gritlite.errors import ArchitectureError, FormatError, GritLiteError, TokenizerError
from tests.nasty_texts import NASTY_TEXTS
from tests.reference import loaded, tokenize
from tests.tiny import VOCABULARY, make_checkpoint, write_tokenizer
from tests.tiny_tokenizers import BYTE_LEVEL_KINDS, CHAT_TEMPLATE, sentencepiece_model

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def spm(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path, "sentencepiece")
    return tmp_path


@pytest.fixture
def spm_json(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path, "sentencepiece-json")
    return tmp_path


@pytest.fixture
def byte_level(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path, "smollm")
    return tmp_path


def read(folder: Path, config: dict[str, Any] | None = None, size: int = VOCABULARY) -> Vocabulary:
    return read_tokenizer(folder, config or {}, size)


def edit(path: Path, change: Edit) -> None:
    content = json.loads(path.read_text("utf-8")) if path.exists() else {}
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def refused(folder: Path, error: type[GritLiteError] = TokenizerError) -> str:
    with pytest.raises(error) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Against sentencepiece and tokenizers themselves, in llama.cpp


@pytest.mark.parametrize("kind", ["sentencepiece", "sentencepiece-model", "sentencepiece-json"])
def test_llama_cpp_tokenizes_as_sentencepiece(kind: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", tokenizer=kind)
    convert(folder, tmp_path / "model.gguf", "f16")
    theirs = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())
    with loaded(tmp_path / "model.gguf", vocab_only=True) as model:
        for text in NASTY_TEXTS:
            if "\u2581" not in text:  # which sentencepiece cannot tell from a space
                assert tokenize(model, text) == [1, *theirs.encode(text)], repr(text)


@pytest.mark.parametrize("kind", BYTE_LEVEL_KINDS)
def test_llama_cpp_tokenizes_as_tokenizers(kind: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", "llama-tied", tokenizer=kind)
    convert(folder, tmp_path / "model.gguf", "f16")
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with loaded(tmp_path / "model.gguf", vocab_only=True) as model:
        for text in NASTY_TEXTS:
            normal = theirs.normalizer.normalize_str(text) if theirs.normalizer else text
            assert tokenize(model, normal) == theirs.encode(text).ids, repr(text)
        special = "<|im_start|>user\n<tool> x<|im_end|>\n"
        ids = theirs.encode(special).ids
        assert tokenize(model, special, parse_special=True) == ids
        assert tokenize(model, "a<tool>b") == theirs.encode("a<tool>b").ids
        assert len(tokenize(model, special)) > len(ids)


# What is read


def test_sentencepiece_vocabulary(spm: Path) -> None:
    vocabulary = read(spm)
    model = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())
    assert (vocabulary.model, vocabulary.pre) == ("llama", "default")
    assert len(vocabulary.tokens) == VOCABULARY
    for number in range(3, model.vocab_size()):
        token = vocabulary.tokens[number]
        assert token.text == model.id_to_piece(number)
        assert token.score == pytest.approx(model.get_score(number))
        assert token.type == (TokenType.BYTE if model.is_byte(number) else TokenType.NORMAL)
    assert [token.type for token in vocabulary.tokens[:3]] == [TokenType.CONTROL] * 3
    assert vocabulary.tokens[-1].text == f"[PAD{VOCABULARY - 1}]"
    assert vocabulary.tokens[-1].type == TokenType.UNUSED
    assert vocabulary.special_ids == {"bos": 1, "eos": 2, "unk": 0}
    assert (vocabulary.add_bos, vocabulary.add_eos) == (True, False)
    assert vocabulary.add_space_prefix
    assert vocabulary.chat_template == CHAT_TEMPLATE


def test_scores_made_of_merges_order_as_the_models(spm_json: Path) -> None:
    scores = [token.score for token in read(spm_json).tokens if token.type == TokenType.NORMAL]
    merged = [score for score in scores if score]
    assert len(merged) > 100
    assert merged == sorted(merged, reverse=True)


def test_merges_in_both_forms_are_the_same(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, "qwen2")
    as_pairs = read(tmp_path)
    edit(
        tmp_path / "tokenizer.json",
        lambda content: content["model"].update(
            merges=[" ".join(pair) for pair in content["model"]["merges"]]
        ),
    )
    assert read(tmp_path) == as_pairs
    assert as_pairs.merges
    assert as_pairs.normalizer == "NFC"


def test_byte_level_vocabulary(byte_level: Path) -> None:
    vocabulary = read(byte_level, {"pad_token_id": 0, "eos_token_id": [7, 8]})
    types = {token.text: token.type for token in vocabulary.tokens}
    assert (vocabulary.model, vocabulary.pre) == ("gpt2", "smollm")
    assert types["<|im_end|>"] == TokenType.CONTROL
    assert types["<tool>"] == TokenType.USER_DEFINED
    assert types["Ġthe"] == TokenType.NORMAL
    # the name in tokenizer_config.json comes before the number in config.json
    assert vocabulary.special_ids == {"eos": 2, "pad": 0}
    assert (vocabulary.add_bos, vocabulary.add_eos) == (False, False)


def test_token_numbers_come_from_the_config_where_nothing_is_named(byte_level: Path) -> None:
    (byte_level / "tokenizer_config.json").unlink()
    config = {"bos_token_id": 1, "eos_token_id": [2, 1], "pad_token_id": -1, "unk_token_id": None}
    assert read(byte_level, config).special_ids == {"bos": 1, "eos": 2}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (True, False)),
        ({"add_bos_token": True, "add_eos_token": True}, (True, True)),
        ({"add_bos_token": False}, (False, False)),
    ],
)
def test_flags_rule_without_a_post_processor(
    settings: dict[str, bool], expected: tuple[bool, bool], tmp_path: Path
) -> None:
    write_tokenizer(tmp_path, "sentencepiece-model")

    def change(content: dict[str, Any]) -> None:
        del content["add_bos_token"], content["add_eos_token"]
        content.update(settings)

    edit(tmp_path / "tokenizer_config.json", change)
    vocabulary = read(tmp_path)
    assert (vocabulary.add_bos, vocabulary.add_eos) == expected


def test_the_post_processor_rules_over_the_flags(spm: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        eos = {"SpecialToken": {"id": "</s>", "type_id": 0}}
        content["post_processor"]["single"] = [content["post_processor"]["single"][1], eos]
        content["post_processor"]["special_tokens"]["</s>"] = {"id": "</s>", "ids": [2]}

    edit(spm / "tokenizer.json", change)
    vocabulary = read(spm)
    assert (vocabulary.add_bos, vocabulary.add_eos) == (False, True)


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer", "expected"),
    [
        (None, {"prepend_scheme": "first"}, True),
        (None, {"prepend_scheme": "always"}, True),
        (None, {"prepend_scheme": "never"}, False),
        ({"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}, None, False),
    ],
)
def test_space_prefix(normalizer: Any, pre_tokenizer: Any, expected: bool, spm_json: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["normalizer"] = normalizer
        content["pre_tokenizer"] = pre_tokenizer and {
            "type": "Metaspace",
            "replacement": "\u2581",
            "split": False,
            **pre_tokenizer,
        }

    edit(spm_json / "tokenizer.json", change)
    assert read(spm_json).add_space_prefix is expected


def test_added_tokens_from_every_place(spm: Path) -> None:
    facts = {"lstrip": False, "rstrip": False, "single_word": False}
    edit(spm / "added_tokens.json", lambda content: content.update({"<here>": 480}))
    edit(
        spm / "tokenizer_config.json",
        lambda content: content.update(
            added_tokens_decoder={"481": {"content": "<|there|>", "special": False, **facts}}
        ),
    )
    edit(
        spm / "tokenizer.json",
        lambda content: content["added_tokens"].append(
            {"id": 483, "content": "\u2581and\u2581", "special": False, **facts}
        ),
    )
    tokens = read(spm).tokens[480:484]
    assert [(token.text, token.type) for token in tokens] == [
        ("<here>", TokenType.USER_DEFINED),
        ("<|there|>", TokenType.CONTROL),
        ("[PAD482]", TokenType.UNUSED),
        ("\u2581and\u2581", TokenType.USER_DEFINED),
    ]


NAMED = [{"name": "rag", "template": "R"}, {"name": "default", "template": "D"}]


@pytest.mark.parametrize(
    ("in_config", "in_jinja", "in_json", "expected"),
    [
        ("C", None, None, "C"),
        (None, "J", None, "J"),
        ("C", "J", None, "J"),
        (None, None, "O", "O"),
        (NAMED, None, None, "D"),
        (NAMED[:1], None, None, None),
        (None, None, None, None),
    ],
)
def test_chat_template_from_every_place(
    in_config: Any, in_jinja: Any, in_json: Any, expected: str | None, spm: Path
) -> None:
    edit(spm / "tokenizer_config.json", lambda content: content.update(chat_template=in_config))
    if in_jinja:
        (spm / "chat_template.jinja").write_text(in_jinja)
    if in_json:
        (spm / "chat_template.json").write_text(json.dumps({"chat_template": in_json}))
    assert read(spm).chat_template == expected


# What is refused


def test_tokenizer_larger_than_the_model(spm: Path) -> None:
    with pytest.raises(ArchitectureError, match=r"480 tokens.*479 rows"):
        read(spm, size=479)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"model_type": "unigram", "hard_vocab_limit": False}, "not a BPE model"),
        ({"normalization_rule_name": "nmt_nfkc"}, "normalizes"),
        ({"remove_extra_whitespaces": True}, "extra spaces"),
    ],
)
def test_sentencepiece_that_llama_cpp_does_not_follow(
    options: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    settings = {
        "model_type": "bpe",
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "minloglevel": 2,
        **options,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the quick brown fox", "jumps over the lazy dog"] * 9),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=40,
        **settings,
    )
    assert complaint in refused(tmp_path)


def test_damaged_sentencepiece_models_are_refused_or_read(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, "sentencepiece-model")
    data = sentencepiece_model()
    for place in range(0, len(data), 97):
        for damaged in (data[:place], data[:place] + b"\xff" * 3 + data[place + 3 :]):
            (tmp_path / "tokenizer.model").unlink()
            (tmp_path / "tokenizer.model").write_bytes(damaged)
            with contextlib.suppress(GritLiteError):
                read(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(data[: len(data) // 2])
    assert "tokenizer.model" in refused(tmp_path, FormatError)


def test_two_files_of_different_tokenizers(spm: Path) -> None:
    edit(spm / "tokenizer.json", lambda content: content["model"]["vocab"].update({"\u2581": 5}))
    message = refused(spm, GritLiteError)
    assert "tokenizer.json" in message


def test_merges_that_are_no_order_of_tokens(spm_json: Path) -> None:
    edit(spm_json / "tokenizer.json", lambda content: content["model"]["merges"].pop(40))
    assert "add the tokenizer.model" in refused(spm_json)


def model(**changes: Any) -> Edit:
    return lambda content: content["model"].update(changes)


def top(**changes: Any) -> Edit:
    return lambda content: content.update(changes)


TEXT = {"Sequence": {"id": "A", "type_id": 0}}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            model(type="Unigram", byte_fallback=False),
            "'Unigram' is not supported, only BPE: llama.cpp chooses",
        ),
        (
            model(type="Unigram", byte_fallback=True),
            "only BPE: llama.cpp has no byte tokens for it",
        ),
        (model(type="WordPiece"), "type 'WordPiece' is not supported, only BPE"),
        (model(dropout=0.1), "dropout"),
        (model(ignore_merges=True), "gpt-2"),
        (top(pre_tokenizer=None), "pre_tokenizer"),
        (top(pre_tokenizer={"type": "Whitespace"}), "pre_tokenizer"),
        (top(pre_tokenizer={**BYTE_LEVEL, "add_prefix_space": True}), "pre_tokenizer"),
        (top(pre_tokenizer={"type": "Sequence", "pretokenizers": [7]}), "pre_tokenizer"),
        (top(normalizer={"type": "Lowercase"}), "this normalizer"),
        (top(post_processor={"type": "BertProcessing"}), "BertProcessing"),
        (top(post_processor={"type": "TemplateProcessing", "single": [TEXT, TEXT]}), "2 times"),
        (top(post_processor={"type": "TemplateProcessing", "single": []}), "0 times"),
    ],
)
def test_byte_level_that_llama_cpp_does_not_follow(
    change: Edit, complaint: str, byte_level: Path
) -> None:
    edit(byte_level / "tokenizer.json", change)
    assert complaint in refused(byte_level)


@pytest.mark.parametrize(
    "change",
    [
        top(model=None),
        model(vocab=None),
        model(vocab={"a": "b"}),
        model(vocab={"a": 1, "b": 1}),
        model(merges=["a"]),
        model(merges=[["a", 1]]),
        top(added_tokens=[3]),
        top(added_tokens=[{"id": 3}]),
        top(added_tokens=[{"id": True, "content": "x"}]),
        top(post_processor={"type": "TemplateProcessing"}),
    ],
)
def test_malformed_tokenizer_json(change: Edit, byte_level: Path) -> None:
    edit(byte_level / "tokenizer.json", change)
    assert str(byte_level) in refused(byte_level, FormatError)


@pytest.mark.parametrize(
    ("token", "complaint"),
    [
        ({"id": 481, "content": "<x>", "rstrip": True}, "rstrip"),
        ({"id": 481, "content": "<|im_end|>"}, "tokens 2 and 481 are both"),
        ({"id": 481, "content": ""}, "token 481 is empty"),
    ],
)
def test_added_token_that_llama_cpp_does_not_know(
    token: dict[str, Any], complaint: str, byte_level: Path
) -> None:
    edit(byte_level / "tokenizer.json", lambda content: content["added_tokens"].append(token))
    assert complaint in refused(byte_level)


def test_control_token_that_plain_text_would_become(spm: Path) -> None:
    numbers = {token.text: number for number, token in enumerate(read(spm).tokens)}
    joined = "th" + "at"
    assert {"th", "at"} <= numbers.keys()
    assert joined not in numbers
    edit(spm / "added_tokens.json", lambda content: content.update({joined: 481}))
    assert read(spm).tokens[481].type == TokenType.USER_DEFINED
    edit(
        spm / "tokenizer.json",
        lambda content: content["added_tokens"].append(
            {"id": 481, "content": joined, "special": True}
        ),
    )
    assert "control token 'that'" in refused(spm)


@pytest.mark.parametrize("content", ["<x>", "the lazy", "x  y", "\u2581and", "e\u0301"])
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("kind", ["sentencepiece-json", "smollm", "qwen2"])
def test_added_tokens_are_found_as_in_tokenizers(
    kind: str, normalized: bool, content: str, tmp_path: Path
) -> None:
    """Or refused by name: "normalized" with a prepended space, and a token of the base again."""
    folder = make_checkpoint(tmp_path / "model", "qwen2", tokenizer=kind, hidden=32)
    token = {"content": content, "special": False, "normalized": normalized}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    number = 481 if kind != "sentencepiece-json" else 480
    edit(
        folder / "tokenizer.json",
        lambda file: file["added_tokens"].append({"id": number, **token, **flags}),
    )
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    is_double = content in theirs.get_vocab(False)
    is_decomposed = kind == "qwen2" and content == "e\u0301"
    if is_decomposed or (kind == "sentencepiece-json" and (normalized or is_double)):
        assert repr(content) in refused(folder)
        return
    convert(folder, tmp_path / "model.gguf", "f16")
    with loaded(tmp_path / "model.gguf", vocab_only=True) as model:
        for form in ("a{}b", "a {} b", "{}", "{} b", " {}b", "hi {}\n{}{}", "no token", "A {}x"):
            text = form.replace("{}", content)
            normal = theirs.normalizer.normalize_str(text) if kind == "qwen2" else text
            assert tokenize(model, normal) == theirs.encode(text).ids, repr(text)


def test_role_of_a_token_that_does_not_exist(byte_level: Path) -> None:
    edit(
        byte_level / "tokenizer_config.json",
        lambda content: content.update(bos_token={"content": "<none>"}),
    )
    assert "'<none>' as bos token" in refused(byte_level)
