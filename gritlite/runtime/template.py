"""Chat templates: messages in, prompt text and tokens out.

Templates are Jinja, run as in transformers (sandboxed, with the same helpers). A user's
text can never become a control token: the text of control tokens inside a message is
replaced by markers before rendering, and tokenized as plain text afterwards.
"""

import datetime
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from jinja2.ext import Extension

from gritlite.errors import FormatError, UsageError
from gritlite.runtime.template_sandbox import BoundedEnvironment, LimitError
from gritlite.runtime.tokens import Tokenizer, control_token_text, control_token_texts

# `role` and `content`; with tools an assistant's `tool_calls`, and the `tool_call_id` and `name`
# of a tool's answer, as transformers' templates take them: a call's arguments are a mapping
Message = Mapping[str, Any]
Tool = Mapping[str, Any]  # {"type": "function", "function": {"name", "description", "parameters"}}
ROLES = ("system", "user", "assistant", "tool")

# the GRIT chat format (README of the official repository), for files without a template
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


def shows_tools(source: str) -> bool:
    """Whether a template shows tools to the model."""
    return re.search(r"\btools\b", source) is not None


class ChatTemplate:
    """Renders and tokenizes chats for one file. Thread-safe.

    Raises FormatError for a template that is not valid Jinja.
    """

    def __init__(self, tokenizer: Tokenizer, source: str | None) -> None:
        self._tokenizer = tokenizer
        vocabulary = tokenizer.vocabulary
        bos = control_token_text(vocabulary, vocabulary.bos)
        eos = control_token_text(vocabulary, vocabulary.eos)
        # transformers passes these too; templates test whether they are none
        self._context = {"bos_token": bos, "eos_token": eos, "documents": None}
        self.has_tools = shows_tools(source or GRIT_TEMPLATE)
        controls = control_token_texts(vocabulary)
        self._control = re.compile("|".join(map(re.escape, controls)) or r"(?!)")
        # markers are the same at every turn, so rendered chats extend each other; the nonce
        # cannot be guessed
        nonce = secrets.token_hex(8)
        self._markers = {word: f"\uf8fe{nonce}{i}\uf8ff" for i, word in enumerate(controls)}
        self._marked_text = {marker: word for word, marker in self._markers.items()}
        self._marker = re.compile(f"(\uf8fe{nonce}[0-9]+\uf8ff)")
        self._split_marker = f"\uf8fe{nonce}\uf8ff"
        self._environment = _environment()
        try:
            self._template = self._environment.from_string(source or GRIT_TEMPLATE)
        except (jinja2.TemplateError, RecursionError, MemoryError, ValueError) as error:
            problem = f"the file's chat template is not valid Jinja: {_reason(error)}"
            raise FormatError(problem) from error

    def render(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> str:
        """Return the prompt for the next answer, with markers for control tokens in messages.

        `messages` have passed `check_messages`; the control tokens of tools are marked too.
        Raises UsageError if the template rejects them or has no tools, and FormatError if it
        takes too long or makes too much text.
        """
        if not self.has_tools and (tools or any(map(_uses_tools, messages))):
            raise UsageError("the file's chat template has no tools: this model cannot call any")
        try:
            safe, offered = self._marked(list(messages)), self._marked(list(tools)) or None
            self._environment.start(_size(safe) + _size(offered))
            return self._template.render(
                messages=safe, tools=offered, add_generation_prompt=True, **self._context
            )
        except LimitError as error:
            raise FormatError(f"the file's chat template was stopped: {error}") from error
        except Exception as error:  # a template can raise any error
            problem = f"the chat template rejects these messages: {_reason(error)}"
            raise UsageError(problem) from error

    def _marked(self, value: Any) -> Any:
        """Return what JSON can hold with all its texts marked, names of keys included."""
        if isinstance(value, str):
            return self.mark(value)
        if isinstance(value, Mapping):
            return {self._marked(key): self._marked(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._marked(each) for each in value]
        return value

    def around_message(
        self, messages: Sequence[Message], tools: Sequence[Tool] = ()
    ) -> tuple[str, str]:
        """Return `render`'s text before the first user message's text, and from there on.

        Raises UsageError for a template in which that text does not occur exactly once.
        """
        number = next(n for n, message in enumerate(messages) if message["role"] == "user")
        marked = [dict(message) for message in messages]
        marked[number]["content"] = self._split_marker + marked[number]["content"]
        before, *after = self.render(marked, tools).split(self._split_marker)
        if len(after) != 1:
            raise UsageError("the chat template does not render a user's message exactly once")
        return before, after[0]

    def mark(self, text: str) -> str:
        """Return a text as `render` shows it, with markers for the text of control tokens."""
        normal = self._tokenizer.vocabulary.normalize(text)  # may produce new control token texts
        return self._control.sub(lambda match: self._markers[match.group()], normal)

    def tokenize(self, rendered: str, *, continues: bool = False) -> list[int]:
        """Return the token ids of a rendered prompt, or with `continues` of the end of one."""
        tokens: list[int] = []
        for part in filter(None, self._marker.split(rendered)):
            follows = continues or bool(tokens)
            if part in self._marked_text:
                ids = self._tokenizer.plain(self._marked_text[part], continues=follows)
            else:
                ids = self._tokenizer.ids(part, parse_control=True, continues=follows)
            tokens += ids.tolist()
        return tokens


def check_messages(messages: Sequence[Message]) -> None:
    """Raise UsageError unless every message has a known role and a text."""
    if not isinstance(messages, Sequence):
        raise UsageError(f"messages is of type {type(messages).__name__}: expected a list")
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
            if key == "tool_calls":
                _check_calls(value, number)
            elif not isinstance(value, str):
                raise UsageError(f"message {number} has no text under {key!r}")


def _check_calls(calls: object, number: int) -> None:
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise UsageError(f"message {number} has no list of mappings under 'tool_calls'")


def _uses_tools(message: Message) -> bool:
    return message["role"] == "tool" or "tool_calls" in message


def _size(value: Any) -> int:
    """Return the number of characters in what JSON can hold."""
    if isinstance(value, Mapping):
        return sum(_size(key) + _size(each) for key, each in value.items())
    if isinstance(value, list):
        return sum(map(_size, value))
    return len(str(value))


def _reason(error: BaseException) -> str:
    """Return an error's text, and its name where it has none."""
    return str(error) or type(error).__name__


def _environment() -> BoundedEnvironment:
    environment = BoundedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationTag, jinja2.ext.loopcontrols],
    )
    environment.add_filter("tojson", _to_json)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    if len(form) > 1000 or re.search(r"\d{3}", form):  # glibc takes a width
        raise LimitError("it asks for a date of too many characters")
    return datetime.datetime.now().strftime(form)


class _GenerationTag(Extension):
    """`{% generation %}` marks assistant text for training; here it only renders its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 wants a plain set

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
