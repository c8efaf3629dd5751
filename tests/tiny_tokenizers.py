"""Tiny tokenizers trained on the spot, written as the files a Hugging Face folder has."""

import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPACE = "\u2581"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and doesn't look back.",
    "Retrieve the passage that answers the question; rank it above the others!",
    "<|user|>\nWhat is a vector?\n<|embed|>\nA vector is a list of numbers.\n<|assistant|>\n",
    "In 1984 there were 12,345 of them; by 2024, 678 were left (0.5%).",
    "def add(a, b):\n    return a + b\n\n\tprint(add(1, 2))  # 3",
    "Les élèves de l'école ont été reçus à Noël. Où est la bibliothèque ?",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "我们今天学习机器学习。日本語のテキストもあります。",
    "🚀🦙 emoji, naïve café, ½ + ¼, x² and the rest…",
)
BYTE_LEVEL_KINDS = ("gpt-2", "smollm", "llama-bpe", "smaug-bpe", "qwen2")

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


@functools.cache
def sentencepiece_model(size: int = 480) -> bytes:
    """A `tokenizer.model` with the settings of Llama's and Mistral's."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in SENTENCES * 4 for line in text.split("\n") if line),
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        character_coverage=0.98,
        minloglevel=2,
    )
    return model.getvalue()


def write_sentencepiece(folder: Path, *, model: bool = True, json_file: bool = True) -> None:
    """A folder's SentencePiece files: tokenizer.model, and tokenizer.json as GritLM-7B has it."""
    data = sentencepiece_model()
    if model:
        (folder / "tokenizer.model").write_bytes(data)
    if json_file:
        _write_json(folder / "tokenizer.json", sentencepiece_json(data))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "LlamaTokenizer",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "add_bos_token": True,
            "add_eos_token": False,
            "legacy": True,
            "chat_template": CHAT_TEMPLATE,
        },
    )


def sentencepiece_json(data: bytes) -> dict[str, Any]:
    """tokenizer.json for a SentencePiece model, as transformers converts it."""
    model = sentencepiece.SentencePieceProcessor(model_proto=data)
    pieces = [model.id_to_piece(number) for number in range(model.vocab_size())]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = [
        [piece[:cut], piece[cut:]]
        for piece in sorted(pieces, key=lambda piece: -model.get_score(vocabulary[piece]))
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
        if not model.is_byte(vocabulary[piece]) and not model.is_control(vocabulary[piece])
    ]
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    text = [{"Sequence": {"id": name, "type_id": number}} for number, name in enumerate("AB")]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(number, pieces[number]) for number in range(3)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": SPACE},
                {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, text[0]],
            "pair": [bos, text[0], bos, text[1]],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": merges,
        },
    }


def write_byte_level(folder: Path, kind: str, *, merges_as_text: bool = False) -> None:
    """A folder's files of a byte-level tokenizer of one of BYTE_LEVEL_KINDS.

    "llama-bpe" puts a BOS token before a text, the others add nothing.
    """
    content = json.loads(_byte_level_json(kind))
    if merges_as_text:
        content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"]]
    _write_json(folder / "tokenizer.json", content)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}
    if kind == "llama-bpe":
        settings["bos_token"] = "<|begin_of_text|>"
    _write_json(folder / "tokenizer_config.json", settings)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, "utf-8")


@functools.cache
def _byte_level_json(kind: str) -> str:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words: dict[str, Callable[[], Any]] = {
        "gpt-2": lambda: byte_level,
        "smollm": lambda: pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), byte_level]
        ),
        "llama-bpe": lambda: _split(_LLAMA3),
        "smaug-bpe": lambda: _split(_LLAMA3),
        "qwen2": lambda: _split(_QWEN2),
    }
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = words[kind]()
    tokenizer.decoder = decoders.ByteLevel()
    if kind == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|begin_of_text|>", "<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    content = json.loads(tokenizer.to_str())
    size = len(content["model"]["vocab"])
    content["added_tokens"].append({**_added(size, "<tool>"), "special": False})
    content["model"]["ignore_merges"] = kind == "llama-bpe"
    content["post_processor"] = _byte_level_post_processor(kind)
    return json.dumps(content)


def _split(regex: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(regex), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _byte_level_post_processor(kind: str) -> dict[str, Any]:
    plain = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}
    plain["use_regex"] = True
    if kind != "llama-bpe":
        return plain
    name = "<|begin_of_text|>"
    bos = {"SpecialToken": {"id": name, "type_id": 0}}
    text = [{"Sequence": {"id": name, "type_id": number}} for number, name in enumerate("AB")]
    template = {
        "type": "TemplateProcessing",
        "single": [bos, text[0]],
        "pair": [bos, text[0], bos, text[1]],
        "special_tokens": {name: {"id": name, "ids": [0], "tokens": [name]}},
    }
    return {"type": "Sequence", "processors": [plain, template]}


def _added(number: int, text: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": text, **flags, "special": True}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
