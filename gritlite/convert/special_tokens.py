"""Read the added tokens, special-token roles and chat template of a checkpoint folder.

Sources: tokenizer.json, tokenizer_config.json, added_tokens.json, config.json and
the chat_template files, as transformers 4 and 5 write them. The module does not
know the base vocabulary's format.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gritlite.convert.json_files import read_optional_json_object
from gritlite.convert.vocabulary import Token, TokenType
from gritlite.errors import FormatError, TokenizerError
from gritlite.system.reading import MAX_PROMPT_BYTES, read_bytes

ROLES = ("bos", "eos", "unk", "pad")
ADDED_SCORE = -1000.0  # as llama.cpp's converter
# control tokens that some models' files do not mark; llama.cpp's does_token_look_special
LOOK_SPECIAL = frozenset({"<pad>", "<mask>", "<2mass>", "[@BOS@]"})
LOOK_SPECIAL_ENDS = (("<|", "|>"), ("<\uff5c", "\uff5c>"), ("<unused", ">"))


@dataclass(frozen=True)
class TokenizerFiles:
    """The parsed JSON files of a folder that describe tokens; empty if there is no file."""

    folder: Path
    tokenizer: Mapping[str, Any]
    settings: Mapping[str, Any]
    config: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any]) -> "TokenizerFiles":
        """Read the files. Raises FileError or FormatError like `read_json_object`."""
        return cls(
            folder,
            read_optional_json_object(folder / "tokenizer.json"),
            read_optional_json_object(folder / "tokenizer_config.json"),
            config,
        )


def read_added_tokens(files: TokenizerFiles) -> dict[int, Token]:
    """Read the tokens that are added to the base vocabulary, or special in it, by id.

    Raises FormatError if a description is malformed, and TokenizerError if llama.cpp
    would match a token differently from transformers.
    """
    added: dict[int, Token] = {}
    for number, fields in _descriptions(files):
        if type(number) is not int or not 0 <= number < 2**24:
            raise FormatError(f"{files.folder}: an added token has the id {number!r}")
        token = _added_token(files.folder, number, fields)
        if number in added and added[number].text != token.text:
            raise TokenizerError(
                f"{files.folder}: added token {number} is {added[number].text!r} in one file "
                f"and {token.text!r} in another"
            )
        added[number] = token
    return added


def _descriptions(files: TokenizerFiles) -> Iterator[tuple[Any, Any]]:
    for name, number in read_optional_json_object(files.folder / "added_tokens.json").items():
        yield number, {"content": name}
    for fields in files.tokenizer.get("added_tokens") or []:
        yield fields.get("id") if isinstance(fields, dict) else None, fields
    decoder = files.settings.get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict):
        raise FormatError(f"{files.folder}: added_tokens_decoder is not a JSON object")
    for number, fields in decoder.items():
        yield int(number) if number.isdecimal() else number, fields


def _added_token(folder: Path, number: int, fields: Any) -> Token:
    text = fields.get("content") if isinstance(fields, dict) else None
    if not isinstance(text, str):
        raise FormatError(f"{folder}: added token {number} has no text")
    for option in ("lstrip", "rstrip", "single_word"):
        if fields.get(option):
            raise TokenizerError(
                f"{folder}: added token {text!r} has the option {option}, "
                "which llama.cpp does not support"
            )
    if fields.get("special") or _looks_special(text):
        return Token(text, TokenType.CONTROL, ADDED_SCORE)
    # llama.cpp matches it before it replaces spaces
    return Token(text.replace("\u2581", " "), TokenType.USER_DEFINED, ADDED_SCORE)


def _looks_special(text: str) -> bool:
    return text in LOOK_SPECIAL or any(
        text.startswith(start) and text.endswith(end) for start, end in LOOK_SPECIAL_ENDS
    )


def read_roles(files: TokenizerFiles, numbers: Mapping[str, int]) -> dict[str, int]:
    """Read the ids of the bos, eos, unk and pad tokens that the files name.

    `numbers` maps token texts to ids. Raises TokenizerError for a name that is not a token.
    """
    roles = {}
    for role in ROLES:
        number = _role_by_text(files, role, numbers)
        if number is None:
            number = _role_by_number(files.config, role)
        if number is not None:
            roles[role] = number
    return roles


def _role_by_text(files: TokenizerFiles, role: str, numbers: Mapping[str, int]) -> int | None:
    text = files.settings.get(f"{role}_token")
    if isinstance(text, dict):
        text = text.get("content")
    if not isinstance(text, str):
        return None
    if text not in numbers:
        raise TokenizerError(
            f"{files.folder}: tokenizer_config.json names {text!r} as {role} token, "
            "which is not in the vocabulary"
        )
    return numbers[text]


def _role_by_number(config: Mapping[str, Any], role: str) -> int | None:
    number = config.get(f"{role}_token_id")
    if isinstance(number, list) and number:
        number = number[0]
    # some configs have -1 for none
    return number if type(number) is int and number >= 0 else None


def read_end_tokens(files: TokenizerFiles, roles: Mapping[str, int]) -> tuple[int, ...]:
    """Read the ids of tokens that end an answer, without the eos token's own.

    config.json and generation_config.json name one or several as eos_token_id, and
    transformers ends at each. Raises FileError or FormatError if a file cannot be read.
    """
    found: set[int] = set()
    generation = read_optional_json_object(files.folder / "generation_config.json")
    for config in (files.config, generation):
        named = config.get("eos_token_id")
        found.update(
            number
            for number in (named if isinstance(named, list) else [named])
            if type(number) is int and number >= 0  # some configs have -1 for none
        )
    return tuple(sorted(found - {roles.get("eos", -1)}))


def read_additions(files: TokenizerFiles, roles: Mapping[str, int]) -> tuple[bool, bool]:
    """Return whether a text gets a bos token before it, and an eos token after it.

    transformers uses tokenizer.json's post-processor, or without that file the flags in
    tokenizer_config.json, of which add_bos_token defaults to true. Raises TokenizerError
    if other tokens are added.
    """
    if not files.tokenizer:
        return (
            files.settings.get("add_bos_token") is not False,
            files.settings.get("add_eos_token") is True,
        )
    before: list[Any] = []
    after: list[Any] = []
    for processor in _processors(files.tokenizer.get("post_processor")):
        if processor.get("type") == "TemplateProcessing":
            before, after = _template(files.folder, processor)
        elif processor.get("type") != "ByteLevel":
            raise TokenizerError(
                f"{files.folder}: tokenizer.json's post-processor {processor.get('type')!r} "
                "is not supported, only TemplateProcessing and ByteLevel"
            )
    for role, found in (("bos", before), ("eos", after)):
        if found not in ([], [roles.get(role)]):
            raise TokenizerError(
                f"{files.folder}: tokenizer.json adds the tokens {found} to a text; llama.cpp can "
                f"add only the {role} token there"
            )
    return bool(before), bool(after)


def _processors(post_processor: Any) -> list[dict[str, Any]]:
    if not isinstance(post_processor, dict):
        return []
    processors = post_processor.get("processors", [post_processor])
    return [processor for processor in processors if isinstance(processor, dict)]


def _template(folder: Path, processor: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the ids added before and after a single text."""
    sides: tuple[list[Any], list[Any]] = ([], [])
    try:
        after = 0
        for piece in processor["single"]:
            if "Sequence" in piece:
                after = 1
            else:
                name = piece["SpecialToken"]["id"]
                sides[after].extend(processor["special_tokens"][name]["ids"])
    except (KeyError, TypeError) as error:
        raise FormatError(f"{folder}: tokenizer.json's post-processor is malformed") from error
    return sides


def read_chat_template(files: TokenizerFiles) -> str | None:
    """Read the default chat template from whichever file has it; None if there is none.

    Raises FileError or FormatError if the file cannot be read.
    """
    jinja = files.folder / "chat_template.jinja"
    if jinja.exists():
        try:
            text = read_bytes(jinja, MAX_PROMPT_BYTES).decode()
            return io.StringIO(text, newline=None).read()  # line ends as transformers reads them
        except UnicodeDecodeError as error:
            raise FormatError(f"{jinja} is not UTF-8 text: download it again") from error
    template = files.settings.get("chat_template")
    if template is None:
        template = read_optional_json_object(files.folder / "chat_template.json").get(
            "chat_template"
        )
    if isinstance(template, list):
        named = [item for item in template if isinstance(item, dict)]
        template = next(
            (item.get("template") for item in named if item.get("name") == "default"), None
        )
    if template is not None and not isinstance(template, str):
        raise FormatError(f"{files.folder}: the chat template is not text")
    return template
