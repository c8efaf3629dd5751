"""Chat templates: messages in, prompt text and tokens out.

Templates are Jinja as transformers runs it (sandboxed, same helpers), so a file
answers as its authors meant. What a person wrote can never become a control
token: spellings of control tokens inside a message are swapped for markers
before rendering and tokenized as plain text afterwards.
"""

import datetime
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gritlite.errors import FormatError, UsageError
from gritlite.runtime.llama import Weights

Message = Mapping[str, str]
ROLES = ("system", "user", "assistant")

# the GRIT chat format (README of the official repository), for files that bring no template
GRIT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '<|assistant|>\n' + message['content'] + eos_token + '\n' }}"
    "{% else %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + '\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


class ChatTemplate:
    """Renders and tokenizes chats for one file. Thread-safe.

    Raises FormatError for a template that is not valid Jinja.
    """

    def __init__(self, weights: Weights, source: str | None, *, bos: str, eos: str) -> None:
        self._weights = weights
        self._specials = {"bos_token": bos, "eos_token": eos}
        controls = weights.control_spellings()
        self._control = re.compile("|".join(map(re.escape, controls)) or r"(?!)")
        try:
            self._template = _environment().from_string(source or GRIT_TEMPLATE)
        except jinja2.TemplateError as error:
            raise FormatError(f"the file's chat template is not valid Jinja: {error}") from error

    def render(self, messages: Sequence[Message]) -> "Rendered":
        """The prompt for the next answer. Raises UsageError for messages the template refuses."""
        check_messages(messages)
        spelled: dict[str, str] = {}
        nonce = secrets.token_hex(4)

        def mark(match: re.Match[str]) -> str:
            marker = f"\uf8fe{nonce}{len(spelled)}\uf8ff"
            spelled[marker] = match.group()
            return marker

        safe = [
            {**message, "content": self._control.sub(mark, message["content"])}
            for message in messages
        ]
        try:
            text = self._template.render(
                messages=safe, add_generation_prompt=True, **self._specials
            )
        except jinja2.TemplateError as error:
            raise UsageError(f"the chat template refuses these messages: {error}") from error
        return Rendered(text, spelled)

    def tokenize(self, rendered: "Rendered", start: int = 0) -> list[int]:
        """Token ids of a rendered prompt from the character `start` on."""
        tokens: list[int] = []
        for part in rendered.parts(start):
            text, plain = rendered.spelled.get(part, part), part in rendered.spelled
            ids = self._weights.tokenize(text, add_special=False, parse_control=not plain)
            tokens += ids.tolist()
        return tokens


class Rendered:
    """A rendered prompt: its text, with markers where a message spelled a control token."""

    def __init__(self, text: str, spelled: Mapping[str, str]) -> None:
        self.text = text
        self.spelled = spelled

    def parts(self, start: int) -> list[str]:
        """The text from `start` on, cut at the markers."""
        text = self.text[start:]
        if not self.spelled:
            return [text]
        cut = re.split("(" + "|".join(map(re.escape, self.spelled)) + ")", text)
        return [part for part in cut if part]


def check_messages(messages: Sequence[Message]) -> None:
    """Raise UsageError unless every message has a known role and a text."""
    if not messages:
        raise UsageError("there are no messages: pass at least one with the role 'user'")
    for number, message in enumerate(messages, 1):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise UsageError(f"message {number} has the role {role!r}: expected one of {ROLES}")
        if not isinstance(content, str):
            raise UsageError(f"message {number} has no text under 'content'")


def _environment() -> ImmutableSandboxedEnvironment:
    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationTag, jinja2.ext.loopcontrols],
    )
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(
        value, ensure_ascii=False, indent=indent
    )
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


class _GenerationTag(Extension):
    """`{% generation %}` marks an assistant's words for training; here it renders its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 wants a plain set

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
