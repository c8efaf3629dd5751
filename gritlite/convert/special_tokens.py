"""Read the added tokens, special-token roles and chat template of a checkpoint folder.

Sources: tokenizer.json, tokenizer_config.json, added_tokens.json, config.json and
the chat_template files, as transformers 4 and 5 write them. The module does not
know the base vocabulary's format.
"""

import io
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gritlite.convert.json_files import (
    list_in,
    object_in,
    read_optional_json_object,
    shown,
)
from gritlite.convert.vocabulary import Token, TokenType
from gritlite.errors import FormatError, TokenizerError
from gritlite.prompt import EMBED, USER
from gritlite.system.reading import MAX_PROMPT_BYTES, read_bytes

ROLES = ("bos", "eos", "unk", "pad")
UNUSED_ROLES = ("unk", "pad")  # every byte is a token, and no batch is padded
# roles of tokens that no prompt has, so that no text is matched with them
UNMATCHED_ROLES = ("mask", "pad", "unk", "cls", "sep")
# beside eos_token_id, what a tokenizer_config.json calls the end of a turn (CodeLlama's, Llama 4's)
END_OF_TURN = "eot_token"
PROMPT = USER + EMBED + "<|assistant|>"
MAX_TOKENS = 2**24
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
        """Read the files. Raises FileError or FormatError like `read_json_object`.

        As in transformers, special_tokens_map.json counts for more than
        tokenizer_config.json, unless that describes the added tokens itself.
        """
        settings = read_optional_json_object(folder / "tokenizer_config.json")
        if "added_tokens_decoder" not in settings:
            named = read_optional_json_object(folder / "special_tokens_map.json")
            settings |= {key: named[key] for key in named if key.endswith("_token")}
        tokenizer = read_optional_json_object(folder / "tokenizer.json")
        return cls(folder, tokenizer, settings, config)

    def text_of(self, role: str) -> str | None:
        """Return the text of the token that is named for a role, such as "bos"; None for none.

        Raises FormatError if it is named by something else than a text.
        """
        named = self.settings.get(f"{role}_token")
        text = named.get("content") if isinstance(named, dict) else named
        if named is None or isinstance(text, str):
            return text
        raise FormatError(
            f"{self.folder}: tokenizer_config.json names {shown(named)} as {role} token"
        )


def read_added_tokens(files: TokenizerFiles, template: str | None) -> dict[int, Token]:
    """Read the tokens that are added to the base vocabulary, or special in it, by id.

    `template` is the chat template. Raises FormatError if a description is malformed, and
    TokenizerError if llama.cpp would match a token differently from transformers.
    """
    matched = PROMPT + (template or "")
    named = {files.text_of(role) for role in UNMATCHED_ROLES}
    named -= {files.text_of("bos"), files.text_of("eos")}
    unmatched = {text for text in named if text and text not in matched}
    added: dict[int, Token] = {}
    for number, fields in _descriptions(files):
        if type(number) is not int or not 0 <= number < MAX_TOKENS:
            raise FormatError(f"{files.folder}: an added token has the id {shown(number)}")
        token = _added_token(files, number, fields, unmatched)
        if number in added and added[number].text != token.text:
            raise TokenizerError(
                f"{files.folder}: added token {number} is {shown(added[number].text)} in one file "
                f"and {shown(token.text)} in another"
            )
        added[number] = token
    return added


def _descriptions(files: TokenizerFiles) -> Iterator[tuple[Any, Any]]:
    for name, number in read_optional_json_object(files.folder / "added_tokens.json").items():
        yield number, {"content": name}
    for fields in list_in(files.folder / "tokenizer.json", files.tokenizer, "added_tokens"):
        yield fields.get("id") if isinstance(fields, dict) else None, fields
    settings = files.folder / "tokenizer_config.json"
    for number, fields in object_in(settings, files.settings, "added_tokens_decoder").items():
        yield int(number) if number.isdecimal() and len(number) < 10 else number, fields


def _added_token(
    files: TokenizerFiles, number: int, fields: Any, unmatched: Collection[str]
) -> Token:
    folder = files.folder
    text = fields.get("content") if isinstance(fields, dict) else None
    if not isinstance(text, str):
        raise FormatError(f"{folder}: added token {number} has no text")
    is_control = bool(fields.get("special")) or _looks_special(text)
    is_matched = not (is_control and text in unmatched)
    for option in ("lstrip", "rstrip", "single_word"):
        if fields.get(option) and is_matched:
            raise TokenizerError(
                f"{folder}: added token {shown(text)} has the option {option}, "
                "which llama.cpp does not support"
            )
    # of control tokens only those of templates are matched, where Llama's files often say so
    if fields.get("normalized") and not is_control and _changes_spaces(files):
        raise TokenizerError(
            f"{folder}: added token {shown(text)} has the option normalized, with which it is "
            "found only behind a space: llama.cpp finds it everywhere"
        )
    if not is_control and _composes(files) and unicodedata.normalize("NFC", text) != text:
        raise TokenizerError(
            f"{folder}: added token {shown(text)} is not in the Unicode form NFC, which texts "
            "take before it is looked for"
        )
    type = TokenType.CONTROL if is_control else TokenType.USER_DEFINED
    return Token(text, type, ADDED_SCORE)


def _changes_spaces(files: TokenizerFiles) -> bool:
    """Whether tokenizer.json's normalizer is that of Llama and Mistral, which prepends a space."""
    normalizer = files.tokenizer.get("normalizer")
    return isinstance(normalizer, dict) and "Prepend" in repr(normalizer)


def _composes(files: TokenizerFiles) -> bool:
    """Whether tokenizer.json's normalizer is that of Qwen2, which composes characters."""
    return "NFC" in repr(files.tokenizer.get("normalizer"))


def _looks_special(text: str) -> bool:
    return text in LOOK_SPECIAL or any(
        text.startswith(start) and text.endswith(end) for start, end in LOOK_SPECIAL_ENDS
    )


def read_roles(files: TokenizerFiles, numbers: Mapping[str, int]) -> dict[str, int]:
    """Read the ids of the bos, eos, unk and pad tokens that the files name.

    `numbers` maps token texts to ids. An unk or pad token that does not exist is left
    out, because nothing uses it. Raises TokenizerError for another name that is not a
    token, and FormatError for one that is no name.
    """
    roles = {}
    for role in ROLES:
        text = files.text_of(role)
        if text is not None and text not in numbers and role not in UNUSED_ROLES:
            raise TokenizerError(
                f"{files.folder}: tokenizer_config.json names {shown(text)} as {role} token, "
                "which is not in the vocabulary"
            )
        if text is not None:
            found = [numbers[text]] if text in numbers else []
        else:
            found = _token_ids(files.folder / "config.json", files.config, f"{role}_token_id")
        if found and (role not in UNUSED_ROLES or found[0] < len(numbers)):
            roles[role] = found[0]
    return roles


def _token_ids(path: Path, config: Mapping[str, Any], key: str) -> list[int]:
    """Return the token ids in a field: one, or a list. Some configs have -1 for none.

    Raises FormatError for anything else.
    """
    value = config.get(key)
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(number) is int for number in ids):
        raise FormatError(f"{path}: {key} is {shown(value)}, not a token id or a list of them")
    return [number for number in ids if number >= 0]


def read_end_tokens(
    files: TokenizerFiles, roles: Mapping[str, int], numbers: Mapping[str, int]
) -> tuple[int, ...]:
    """Read the ids of tokens that end an answer, without the eos token's own.

    config.json and generation_config.json name one or several as eos_token_id, and
    transformers ends at each, as at generation_config.json's stop_strings; the end of a
    turn can have a name in tokenizer_config.json. `numbers` maps token texts to ids.
    Raises FileError or FormatError if a file cannot be read, TokenizerError for a stop
    string that is not a token.
    """
    path = files.folder / "generation_config.json"
    generation = read_optional_json_object(path)
    found = set(_token_ids(files.folder / "config.json", files.config, "eos_token_id"))
    found.update(_token_ids(path, generation, "eos_token_id"))
    stops = generation.get("stop_strings") or []
    for text in stops if isinstance(stops, list) else [stops]:
        if not isinstance(text, str) or text not in numbers:
            raise TokenizerError(
                f"{path}: the stop string {shown(text)} is not a token: only tokens can end an "
                "answer; remove it"
            )
        found.add(numbers[text])
    extra = files.settings.get("extra_special_tokens")
    more = extra if isinstance(extra, dict) else {}
    for named in (files.settings.get(END_OF_TURN), more.get(END_OF_TURN)):
        text = named.get("content") if isinstance(named, dict) else named
        if isinstance(text, str) and text in numbers:
            found.add(numbers[text])
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
    for processor in _processors(files):
        if processor.get("type") == "TemplateProcessing":
            first, last = _template(files.folder, processor)
            before, after = first + before, after + last
        elif processor.get("type") != "ByteLevel":
            raise TokenizerError(
                f"{files.folder}: tokenizer.json's post-processor {shown(processor.get('type'))} "
                "is not supported, only TemplateProcessing and ByteLevel"
            )
    for role, found in (("bos", before), ("eos", after)):
        if found not in ([], [roles.get(role)]):
            raise TokenizerError(
                f"{files.folder}: tokenizer.json adds the tokens {found} to a text; llama.cpp can "
                f"add only the {role} token there"
            )
    return bool(before), bool(after)


def _processors(files: TokenizerFiles) -> list[dict[str, Any]]:
    path = files.folder / "tokenizer.json"
    post_processor = object_in(path, files.tokenizer, "post_processor")
    if post_processor.get("type") != "Sequence":
        return [post_processor] if post_processor else []
    processors = list_in(path, post_processor, "processors")
    if not all(isinstance(processor, dict) for processor in processors):
        raise FormatError(f"{path}: post_processor is {shown(post_processor)}, not a list of them")
    return processors


def _template(folder: Path, processor: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the ids added before and after a single text, which must be there once."""
    sides: tuple[list[Any], list[Any]] = ([], [])
    try:
        texts = 0
        for piece in processor["single"]:
            if "Sequence" in piece:
                texts += 1
            else:
                name = piece["SpecialToken"]["id"]
                sides[texts > 0].extend(processor["special_tokens"][name]["ids"])
    except (KeyError, TypeError) as error:
        raise FormatError(f"{folder}: tokenizer.json's post-processor is malformed") from error
    if texts != 1:
        raise TokenizerError(
            f"{folder}: tokenizer.json's post-processor gives a text {texts} times; llama.cpp "
            "gives it once"
        )
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
            raise FormatError(f"{jinja} is not UTF-8 text: save it as UTF-8") from error
    template = files.settings.get("chat_template")
    if template is None:
        template = read_optional_json_object(files.folder / "chat_template.json").get(
            "chat_template"
        )
    if isinstance(template, list):  # of several, the default one
        named = [item for item in template if isinstance(item, dict)]
        template = next(
            (item.get("template") for item in named if item.get("name") == "default"), None
        )
    if template is not None and not isinstance(template, str):
        raise FormatError(f"{files.folder}: the chat template is not text")
    return template
