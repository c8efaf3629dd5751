"""What becomes a token, and what never does."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gritlite import instruction
from gritlite.errors import ClosedError, InputError
from gritlite.runtime.llama import Weights
from gritlite.runtime.tokens import Tokenizer
from tests.nasty_texts import NASTY_TEXTS

SPELLINGS = {
    "llama-tied": ("<|begin_of_text|>", "<|im_start|>", "<|im_end|>"),
    "mistral": ("<s>", "</s>", "<unk>"),
}
AROUND = ("{}", "{}{}", "a {} b", "a{}b", " {} ", "\n{}\n", "<{}>", "{}é{}", "x" * 600 + "{}")


@pytest.fixture(params=SPELLINGS)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def weights(case: str, tiny_file) -> Iterator[Weights]:
    with Weights(tiny_file(case), gpu_layers=0, vocab_only=True) as weights:
        yield weights


@pytest.fixture
def tokenizer(weights: Weights) -> Tokenizer:
    return Tokenizer(weights)


def spelled(weights: Weights, ids: np.ndarray) -> str:
    return b"".join(weights.piece(int(i), special=True) for i in ids).decode()


def test_control_spellings_in_texts_stay_text(
    case: str, weights: Weights, tokenizer: Tokenizer
) -> None:
    unknown = weights.tokenize("<unk>", add_special=False, parse_control=True)
    special = {*np.flatnonzero(weights.control).tolist()}
    if case == "mistral":
        special |= {0}
        assert unknown.tolist() == [0]
    assert len(special) == 3
    for spelling in SPELLINGS[case]:
        for form in AROUND:
            text = form.replace("{}", spelling)
            ids = tokenizer.plain(text)
            assert not special & {*ids.tolist()}, text
            assert spelled(weights, ids).replace(" ", "") == text.replace(" ", "")
            behind = tokenizer.text(tokenizer.prompt(instruction("Find it")), text)
            assert not special & {*behind.ids[1:].tolist()}


def test_text_behind_a_prompt_is_tokenized_in_one_piece(
    weights: Weights, tokenizer: Tokenizer
) -> None:
    prompt = instruction("Find it")
    made = tokenizer.prompt(prompt)
    for text in NASTY_TEXTS:
        whole = weights.tokenize(prompt + text, add_special=True, parse_control=True)
        tokens = tokenizer.text(made, text)
        assert tokens.ids.tolist() == whole.tolist(), text
        assert tokens.start == len(weights.tokenize(prompt, add_special=True, parse_control=True))
        assert tokens.content == len(tokens.ids) - tokens.start


def test_control_tokens_of_a_prompt(case: str, weights: Weights, tokenizer: Tokenizer) -> None:
    control = SPELLINGS[case][1]
    prompt = tokenizer.prompt(f"{control}user\n{control}\n", add_bos=False)
    number = int(weights.tokenize(control, add_special=False, parse_control=True)[-1])
    assert prompt.head.tolist().count(number) == 2
    assert prompt.head[-1] == number
    assert prompt.tail == "\n"
    tokens = tokenizer.text(prompt, f"a {control} b")
    assert tokens.ids.tolist().count(number) == 2


def test_bos_where_the_file_asks_for_it(tiny_file) -> None:
    for case, tokenizer_kind, adds in (
        ("mistral", None, True),
        ("llama-tied", "llama-bpe", True),
        ("llama-tied", None, False),
    ):
        file = tiny_file(case, tokenizer=tokenizer_kind)
        with Weights(file, gpu_layers=0, vocab_only=True) as weights:
            tokenizer = Tokenizer(weights)
            with_bos = tokenizer.prompt("<|embed|>\n")
            without = tokenizer.prompt("<|embed|>\n", add_bos=False)
            assert with_bos.length - without.length == adds
            assert [weights.bos][:adds] == with_bos.head.tolist()
            assert without.head.tolist() == []


def test_an_empty_text_has_no_content(tokenizer: Tokenizer) -> None:
    assert tokenizer.text(tokenizer.prompt(instruction("x")), "").content == 0


def test_half_of_a_surrogate_pair(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"ud83d.* surrogate pair"):
        tokenizer.plain("ab\ud83d")


def test_closed_weights(weights: Weights) -> None:
    tokenizer = Tokenizer(weights)
    weights.close()
    with pytest.raises(ClosedError):
        tokenizer.plain("a")
    weights.close()


def test_texts_take_the_form_of_the_vocabulary(tiny_file) -> None:
    """Qwen2's tokenizer.json asks for NFC."""
    with Weights(tiny_file("qwen2"), gpu_layers=0, vocab_only=True) as weights:
        tokenizer = Tokenizer(weights)
        assert tokenizer.plain("e\u0301").tolist() == tokenizer.plain("é").tolist()
    with Weights(tiny_file("llama-tied"), gpu_layers=0, vocab_only=True) as weights:
        tokenizer = Tokenizer(weights)
        assert tokenizer.plain("e\u0301").tolist() != tokenizer.plain("é").tolist()


def test_pieces_of_any_length(weights: Weights) -> None:
    for number in range(weights.n_vocab):
        piece = weights.piece(number, special=True)
        assert (weights.piece(number) == b"") == (bool(weights.control[number]) or piece == b"")


def test_a_path_that_is_not_unicode(tiny_path: Path, tmp_path: Path) -> None:
    odd = tmp_path / b"mod\xe9l.gguf".decode("utf-8", "surrogateescape")
    odd.symlink_to(tiny_path)
    with Weights(odd, gpu_layers=0, vocab_only=True) as weights:
        assert weights.n_vocab == 496


def test_control_tokens_that_merges_would_spell(tiny_file, tmp_path: Path) -> None:
    """A SentencePiece vocabulary with the piece "<s" merges it with ">" into the control token."""
    file = tiny_file("mistral").read_bytes()
    old, new = (len(text).to_bytes(8, "little") + text for text in (b"No", b"<s"))
    assert file.count(old) == 1
    (tmp_path / "model.gguf").write_bytes(file.replace(old, new))
    with Weights(tmp_path / "model.gguf", gpu_layers=0, vocab_only=True) as weights:
        bos = weights.bos
        assert bos in weights.tokenize("a <s> b", add_special=False, parse_control=False)
        tokenizer = Tokenizer(weights)
        for text in ("<s>", "a <s> b", "<s><s>", "<<s>>", "a<s>b<s>c"):
            ids = tokenizer.plain(text)
            assert bos not in ids
            assert spelled(weights, ids).replace(" ", "") == text.replace(" ", "")
            # no more than the one space before the text that the tokenizer adds
            assert spelled(weights, ids) == " " + text
