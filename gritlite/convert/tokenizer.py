"""Read the tokenizer of a checkpoint folder, from tokenizer.model or tokenizer.json."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gritlite.convert.sentencepiece_model import read_sentencepiece
from gritlite.convert.special_tokens import (
    TokenizerFiles,
    read_added_tokens,
    read_additions,
    read_chat_template,
    read_end_tokens,
    read_roles,
)
from gritlite.convert.tokenizer_json import (
    has_byte_fallback,
    has_space_prefix,
    parse_tokenizer_json,
    read_vocabulary,
)
from gritlite.convert.vocabulary import PAD_SCORE, BaseVocabulary, Token, TokenType, Vocabulary
from gritlite.errors import FileError, FormatError, TokenizerError


def read_tokenizer(folder: Path, config: Mapping[str, Any], size: int) -> Vocabulary:
    """Read the tokenizer of `folder`, padded to the `size` rows of the embedding matrix.

    `config` is the parsed config.json.

    Raises FileError or FormatError if a file cannot be read, TokenizerError if it cannot
    be converted faithfully, ArchitectureError if it has more tokens than the model.
    """
    files = TokenizerFiles.read(folder, config)
    base = _read_base(files)
    template = read_chat_template(files)
    added = read_added_tokens(files, template)
    # a pad token behind the embeddings, as training scripts add one: nothing uses it
    pad = files.text_of("pad")
    added = {n: token for n, token in added.items() if n < size or token.text != pad}
    tokens = _with_added(base.tokens, added)
    numbers = {token.text: number for number, token in enumerate(tokens)}
    roles = read_roles(files, numbers)
    add_bos, add_eos = read_additions(files, roles)
    vocabulary = Vocabulary(
        model=base.model,
        pre=base.pre,
        tokens=tokens,
        merges=base.merges,
        special_ids=roles,
        add_bos=add_bos,
        add_eos=add_eos,
        add_space_prefix=base.add_space_prefix,
        normalizer=base.normalizer,
        chat_template=template,
        end_ids=read_end_tokens(files, roles, numbers),
    ).padded(size)
    vocabulary.check()
    return vocabulary


def _read_base(files: TokenizerFiles) -> BaseVocabulary:
    """Read the base vocabulary. If both files exist, transformers uses tokenizer.json.

    tokenizer.model then has better scores, if it is of the same tokenizer: beside a
    byte-level one lies another kind of file (Llama 3's is tiktoken's).
    """
    model, json = files.folder / "tokenizer.model", files.folder / "tokenizer.json"
    if not files.tokenizer:
        if not model.exists():
            raise FileError(f"{files.folder} has neither tokenizer.model nor tokenizer.json")
        return read_sentencepiece(model)
    if not has_byte_fallback(json, files.tokenizer) or not model.exists():
        return parse_tokenizer_json(json, files.tokenizer)
    try:
        base = read_sentencepiece(model)
    except (FormatError, TokenizerError):
        return parse_tokenizer_json(json, files.tokenizer)
    _check_agreement(json, files.tokenizer, base)
    return replace(base, add_space_prefix=has_space_prefix(json, files.tokenizer))


def _check_agreement(path: Path, content: Mapping[str, Any], base: BaseVocabulary) -> None:
    numbers = {token.text: number for number, token in enumerate(base.tokens) if token}
    vocabulary = read_vocabulary(path, content)
    if any(vocabulary.get(text) != number for text, number in numbers.items()):
        raise TokenizerError(
            f"{path} and the tokenizer.model next to it have different vocabularies: "
            "remove the one that does not belong to the model"
        )


def _with_added(base: tuple[Token | None, ...], added: Mapping[int, Token]) -> tuple[Token, ...]:
    size = max([len(base), *(number + 1 for number in added)])
    return tuple(_token(base, added.get(number), number) for number in range(size))


def _token(base: tuple[Token | None, ...], added: Token | None, number: int) -> Token:
    own = _base_token(base, number)
    if added is None:
        return own
    # a token of the base that is special keeps its place among the merges
    return replace(added, score=own.score) if added.text == own.text else added


def _base_token(base: tuple[Token | None, ...], number: int) -> Token:
    token = base[number] if number < len(base) else None
    return token or Token(f"[PAD{number}]", TokenType.UNUSED, PAD_SCORE)
