"""Tokenization: prompts, texts, and control tokens that a text must never produce."""

import ctypes
import random
import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gritlite import GritLM, instruction
from gritlite.errors import ClosedError, InputError, TokenizerError
from gritlite.modelfile.header import read_header
from gritlite.runtime import tokens
from gritlite.runtime.llama import Weights
from gritlite.runtime.llama.library import C
from gritlite.runtime.llama.vocabulary import LlamaVocabulary
from gritlite.runtime.tokens import Tokenizer
from tests.nasty_texts import NASTY_TEXTS
from tests.sample_gguf import BPE, rewrite, write_model
from tests.tiny_tokenizers import BYTE_LEVEL_KINDS

CONTROL_TEXTS = {
    "llama-tied": ("<|begin_of_text|>", "<|im_start|>", "<|im_end|>"),
    "mistral": ("<s>", "</s>", "<unk>"),
}
AROUND = ("{}", "{}{}", "a {} b", "a{}b", " {} ", "\n{}\n", "<{}>", "{}é{}", "x" * 600 + "{}")


@pytest.fixture(params=CONTROL_TEXTS)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def weights(case: str, tiny_file) -> Iterator[Weights]:
    with Weights(tiny_file(case), gpu_layers=0, vocab_only=True) as weights:
        yield weights


@pytest.fixture
def vocabulary(weights: Weights) -> LlamaVocabulary:
    return LlamaVocabulary(weights)


@pytest.fixture
def tokenizer(vocabulary: LlamaVocabulary) -> Tokenizer:
    return Tokenizer(vocabulary)


def text_of(vocabulary: LlamaVocabulary, ids: np.ndarray) -> str:
    return b"".join(vocabulary.piece(int(i), special=True) for i in ids).decode()


def test_control_tokens_in_texts_stay_text(
    case: str, vocabulary: LlamaVocabulary, tokenizer: Tokenizer
) -> None:
    unknown = vocabulary.tokenize("<unk>", parse_control=True)
    special = {*np.flatnonzero(vocabulary.control).tolist()}
    if case == "mistral":
        special |= {0}
        assert unknown.tolist() == [0]
    assert len(special) == 3
    for control in CONTROL_TEXTS[case]:
        for form in AROUND:
            text = form.replace("{}", control)
            ids = tokenizer.plain(text)
            assert not special & {*ids.tolist()}, text
            assert text_of(vocabulary, ids).replace(" ", "") == text.replace(" ", "")
            with_prompt = tokenizer.text(tokenizer.prompt(instruction("Find it")), text)
            assert not special & {*with_prompt.ids[1:].tolist()}


def llama_tokens(weights: Weights, text: str) -> list[int]:
    """Return llama.cpp's own tokens of a text, with BOS if the file asks for it."""
    data = text.encode()
    ids = (ctypes.c_int32 * (len(data) + 8))()
    with weights.vocabulary() as vocab:
        count = C.llama_tokenize(vocab, data, len(data), ids, len(ids), True, True)
    return list(ids[:count])


def test_a_prompt_and_its_text_are_tokenized_as_one_string(
    weights: Weights, tokenizer: Tokenizer
) -> None:
    prompt = instruction("Find it")
    made = tokenizer.prompt(prompt)
    for text in NASTY_TEXTS:
        whole = llama_tokens(weights, prompt + text)
        tokens = tokenizer.text(made, text)
        assert tokens.ids.tolist() == whole, text
        assert tokens.start == len(llama_tokens(weights, prompt))
        assert tokens.content == len(tokens.ids) - tokens.start


def test_control_tokens_of_a_prompt(
    case: str, vocabulary: LlamaVocabulary, tokenizer: Tokenizer
) -> None:
    control = CONTROL_TEXTS[case][1]
    prompt = tokenizer.prompt(f"{control}user\n{control}\n", add_bos=False)
    number = int(vocabulary.tokenize(control, parse_control=True)[-1])
    assert prompt.head.tolist().count(number) == 2
    assert prompt.head[-1] == number
    assert prompt.tail == "\n"
    tokens = tokenizer.text(prompt, f"a {control} b")
    assert tokens.ids.tolist().count(number) == 2


def test_bos_if_the_file_asks_for_it(tiny_file) -> None:
    for case, tokenizer_kind, adds in (
        ("mistral", None, True),
        ("llama-tied", "llama-bpe", True),
        ("llama-tied", None, False),
    ):
        file = tiny_file(case, tokenizer=tokenizer_kind)
        with Weights(file, gpu_layers=0, vocab_only=True) as weights:
            tokenizer = Tokenizer(LlamaVocabulary(weights))
            with_bos = tokenizer.prompt("<|embed|>\n")
            without = tokenizer.prompt("<|embed|>\n", add_bos=False)
            assert with_bos.length - without.length == adds
            assert [tokenizer.vocabulary.bos][:adds] == with_bos.head.tolist()
            assert without.head.tolist() == []


BEGINNINGS = [
    *(("mistral", None), ("llama-tied", None), ("qwen2", None)),
    *(("llama-tied", kind) for kind in BYTE_LEVEL_KINDS),
]


@pytest.fixture
def short_texts_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let texts of hundreds of characters be cut, near the place that is looked at first."""
    monkeypatch.setattr(tokens, "_LONG", 200)
    monkeypatch.setattr(tokens, "_WINDOW", 64)


@pytest.mark.usefixtures("short_texts_are_long")
@pytest.mark.parametrize(("case", "kind"), BEGINNINGS)
def test_the_beginning_of_a_long_text_has_the_tokens_of_the_whole(tiny_file, case, kind) -> None:
    """Of words, blanks, marks and control tokens' texts in any order."""
    with Weights(tiny_file(case, tokenizer=kind), gpu_layers=0, vocab_only=True) as weights:
        vocabulary = LlamaVocabulary(weights)
        tokenizer = Tokenizer(vocabulary)
        prompt = tokenizer.prompt(instruction("Find it"))
        choose = random.Random(5)
        pieces = [vocabulary.piece(i).decode("utf-8", "replace") for i in range(vocabulary.size)]
        cut = 0
        for _ in range(400):
            source = choose.choice((NASTY_TEXTS, pieces, (*NASTY_TEXTS, *pieces)))
            between = choose.choice(("", " ", "  ", "\n", "\t", "\r\n"))
            text = between.join(choose.choices(source, k=choose.randrange(40, 300)))
            most = choose.choice((1, 5, 30, 100))
            first, whole = tokenizer.beginning(prompt, text, most), tokenizer.text(prompt, text)
            assert first.start == whole.start
            assert first.ids.tolist() == whole.ids[: len(first.ids)].tolist()
            assert len(first.ids) > most or len(first.ids) == len(whole.ids)
            cut += len(first.ids) < len(whole.ids)
        assert cut > 100


@pytest.mark.usefixtures("short_texts_are_long")
def test_a_long_text_whose_beginning_depends_on_the_rest_is_tokenized_whole(
    case: str, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = tokenizer.prompt(instruction("Find it"))

    def is_cut(text: str) -> bool:
        ids = tokenizer.beginning(prompt, text, 20).ids
        return len(ids) < len(tokenizer.text(prompt, text).ids)

    assert is_cut("the inn " * 300)
    assert is_cut("cliché " * 300)
    with monkeypatch.context() as patched:  # é becomes two characters, of which one is no letter
        patched.setattr(tokenizer.vocabulary, "normalize", partial(unicodedata.normalize, "NFD"))
        assert not is_cut("cliché " * 300)
    assert not is_cut("theinn" * 300)
    assert not is_cut("12 34 " * 300)
    assert not is_cut(f"{CONTROL_TEXTS[case][0]} " + "the inn " * 300)
    with pytest.raises(InputError, match="surrogate"):
        tokenizer.beginning(prompt, "the inn " * 300 + "\ud83d", 20)
    tokenizer._ends_words = False  # a vocabulary with a token such as "of the"
    assert not is_cut("the inn " * 300)


def test_a_token_of_several_words_is_noticed(
    vocabulary: LlamaVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Tokenizer(vocabulary)._ends_words
    for piece, ends_words in ((b"the inn", False), (b" inn", True), (b"\xa9 ", False)):
        monkeypatch.setattr(vocabulary, "piece", lambda *_, found=piece, **__: found)
        assert Tokenizer(vocabulary)._ends_words == ends_words


def test_an_empty_text_has_no_content(tokenizer: Tokenizer) -> None:
    assert tokenizer.text(tokenizer.prompt(instruction("x")), "").content == 0


def test_half_of_a_surrogate_pair(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"ud83d.* surrogate pair"):
        tokenizer.plain("ab\ud83d")


def test_closed_weights(weights: Weights) -> None:
    tokenizer = Tokenizer(LlamaVocabulary(weights))
    weights.close()
    with pytest.raises(ClosedError):
        tokenizer.plain("a")
    weights.close()


def test_texts_are_normalized_as_the_vocabulary_asks(tiny_file) -> None:
    """Qwen2's tokenizer.json asks for NFC."""
    with Weights(tiny_file("qwen2"), gpu_layers=0, vocab_only=True) as weights:
        tokenizer = Tokenizer(LlamaVocabulary(weights))
        assert tokenizer.plain("e\u0301").tolist() == tokenizer.plain("é").tolist()
    with Weights(tiny_file("llama-tied"), gpu_layers=0, vocab_only=True) as weights:
        tokenizer = Tokenizer(LlamaVocabulary(weights))
        assert tokenizer.plain("e\u0301").tolist() != tokenizer.plain("é").tolist()


def test_pieces_of_any_length(vocabulary: LlamaVocabulary) -> None:
    for number in range(vocabulary.size):
        piece = vocabulary.piece(number, special=True)
        assert (vocabulary.piece(number) == b"") == (
            bool(vocabulary.control[number]) or piece == b""
        )


def test_a_path_that_is_not_unicode(tiny_path: Path, tmp_path: Path) -> None:
    odd = tmp_path / b"mod\xe9l.gguf".decode("utf-8", "surrogateescape")
    odd.symlink_to(tiny_path)
    with Weights(odd, gpu_layers=0, vocab_only=True) as weights:
        assert weights.n_vocab == 496


def test_control_tokens_that_merges_would_produce(tiny_file, tmp_path: Path) -> None:
    """In a SentencePiece vocabulary the pieces "<s" and ">" would merge into the control token."""
    file = tiny_file("mistral").read_bytes()
    old, new = (len(text).to_bytes(8, "little") + text for text in (b"No", b"<s"))
    assert file.count(old) == 1
    (tmp_path / "model.gguf").write_bytes(file.replace(old, new))
    with Weights(tmp_path / "model.gguf", gpu_layers=0, vocab_only=True) as weights:
        vocabulary = LlamaVocabulary(weights)
        bos = vocabulary.bos
        assert bos in vocabulary.tokenize("a <s> b", parse_control=False)
        tokenizer = Tokenizer(LlamaVocabulary(weights))
        for text in ("<s>", "a <s> b", "<s><s>", "<<s>>", "a<s>b<s>c"):
            ids = tokenizer.plain(text)
            assert bos not in ids
            assert text_of(vocabulary, ids).replace(" ", "") == text.replace(" ", "")
            # no more than the one space before the text that the tokenizer adds
            assert text_of(vocabulary, ids) == " " + text


def test_a_vocabulary_with_control_tokens_for_plain_text(tmp_path: Path) -> None:
    """A word of the prompt that is a control token, but is not spelled like it."""
    path = write_model(tmp_path / "m.gguf", BPE)
    kinds = [int(kind) for kind in read_header(path).metadata["tokenizer.ggml.token_type"]]
    kinds[262] = 3  # "Ġa", for " a"
    odd = rewrite(
        path,
        tmp_path / "odd.gguf",
        lambda writer: writer.add_token_types(kinds),
        ("tokenizer.ggml.token_type",),
    )
    with (
        GritLM(odd, threads=1) as model,
        pytest.raises(TokenizerError, match="its token 262 for a part of the prompt"),
    ):
        model.encode(["hello"], instruction="find a text\n")
