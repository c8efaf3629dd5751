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
from gritlite.runtime.tokens import Tokenizer, control_token_text, control_token_texts

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

    def __init__(self, tokenizer: Tokenizer, source: str | None) -> None:
        self._tokenizer = tokenizer
        vocabulary = tokenizer.vocabulary
        bos = control_token_text(vocabulary, vocabulary.bos)
        eos = control_token_text(vocabulary, vocabulary.eos)
        # transformers passes these too; templates ask whether they are none
        self._context = {"bos_token": bos, "eos_token": eos, "tools": None, "documents": None}
        controls = control_token_texts(vocabulary)
        self._control = re.compile("|".join(map(re.escape, controls)) or r"(?!)")
        # a spelling's marker stays the same from turn to turn, so rendered chats extend each
        # other; nobody outside can know it
        nonce = secrets.token_hex(8)
        self._markers = {word: f"\uf8fe{nonce}{i}\uf8ff" for i, word in enumerate(controls)}
        self._spelled = {marker: word for word, marker in self._markers.items()}
        self._marker = re.compile(f"(\uf8fe{nonce}[0-9]+\uf8ff)")
        self._place = f"\uf8fe{nonce}\uf8ff"
        try:
            self._template = _environment().from_string(source or GRIT_TEMPLATE)
        except (jinja2.TemplateError, RecursionError) as error:
            raise FormatError(f"the file's chat template is not valid Jinja: {error}") from error

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt for the next answer, with markers where a message spelled a control token.

        `messages` have passed `check_messages`. Raises UsageError when the template
        refuses them.
        """
        safe = [{key: self.mark(value) for key, value in message.items()} for message in messages]
        try:
            return self._template.render(messages=safe, add_generation_prompt=True, **self._context)
        except Exception as error:  # a template can raise whatever Python can
            raise UsageError(f"the chat template refuses these messages: {error}") from error

    def around_message(self, messages: Sequence[Message]) -> tuple[str, str]:
        """What `render` has before the text of the first user message, and from there on.

        Raises UsageError for a template in which that text does not stand once.
        """
        number = next(n for n, message in enumerate(messages) if message["role"] == "user")
        opened = [dict(message) for message in messages]
        opened[number]["content"] = self._place + opened[number]["content"]
        before, *behind = self.render(opened).split(self._place)
        if len(behind) != 1:
            raise UsageError("the chat template does not show a user's message once")
        return before, behind[0]

    def mark(self, text: str) -> str:
        """A text as `render` shows it: with markers where it spells a control token."""
        normal = self._tokenizer.vocabulary.normalize(text)  # which may spell what the text did not
        return self._control.sub(lambda match: self._markers[match.group()], normal)

    def tokenize(self, rendered: str, *, continues: bool = False) -> list[int]:
        """Token ids of a rendered prompt; `continues` says that it is only the end of one."""
        tokens: list[int] = []
        for part in filter(None, self._marker.split(rendered)):
            follows = continues or bool(tokens)
            if part in self._spelled:
                ids = self._tokenizer.plain(self._spelled[part], continues=follows)
            else:
                ids = self._tokenizer.ids(part, parse_control=True, continues=follows)
            tokens += ids.tolist()
        return tokens


def check_messages(messages: Sequence[Message]) -> None:
    """Raise UsageError unless every message has a known role and a text."""
    if not messages:
        raise UsageError("there are no messages: pass at least one with the role 'user'")
    for number, message in enumerate(messages, 1):
        if not isinstance(message, Mapping):
            raise UsageError(f"message {number} is not a mapping with 'role' and 'content'")
        if message.get("role") not in ROLES:
            raise UsageError(
                f"message {number} has the role {message.get('role')!r}: expected one of {ROLES}"
            )
        if "content" not in message:
            raise UsageError(f"message {number} has no text under 'content'")
        for key, value in message.items():
            if not isinstance(value, str):
                raise UsageError(f"message {number} has no text under {key!r}")


def _environment() -> ImmutableSandboxedEnvironment:
    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationTag, jinja2.ext.loopcontrols],
    )

    def to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


class _GenerationTag(Extension):
    """`{% generation %}` marks an assistant's words for training; here it renders its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 wants a plain set

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
