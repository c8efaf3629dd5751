"""Jinja for templates of strangers: jinja2's sandbox, with limits of time and memory.

The sandbox keeps a template from the machine, but not from running for ever or filling the
memory. Here every loop, call, filter and operator looks at the clock of its thread, and
what would become too large is refused before it is made: by operators, filters, methods and
formats (template_sizes.py), by literals, and by the text itself. A template has no other
steps; those that are left are short, and as many as the source is long.
"""

import functools
import threading
import time
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, pass_context
from jinja2.visitor import NodeTransformer

from gritlite.runtime import template_sizes

MAX_SOURCE = 1_000_000  # characters of a template
SECONDS = 2.0  # of its thread's processor time
LARGEST = 8_000_000  # characters of one value, beside eight times the input's
TOTAL = 64_000_000  # characters made in all, beside 64 times the input's
_STEPS = 32  # short steps between two looks at the clock, which is a system call
_LONG = 10_000  # characters of a step that is not short
_MAX_BITS = 100_000  # of an integer
_ITEM = 16  # an item of a list needs about as much memory as so many characters

_MADE = "gritlite made"  # names of filters that no template can write
_CONCAT = "gritlite concat"
_METHODS_OF = (str, list, dict, tuple)


class LimitError(jinja2.TemplateError):
    """A template takes too long or makes too much; the text says which."""


class _Meter(threading.local):
    """What one rendering, in its thread, may still use."""

    steps = 0
    ends = float("inf")
    largest = LARGEST
    left = TOTAL

    def start(self, size: int) -> None:
        """Begin to render an input of `size` characters."""
        self.ends = time.thread_time() + SECONDS
        self.largest, self.left = LARGEST + 8 * size, TOTAL + 64 * size

    def tick(self) -> None:
        """Raise LimitError when the time is over; most steps are too short to look."""
        self.steps += 1
        if self.steps % _STEPS == 0:
            self._look()

    def _look(self) -> None:
        if time.thread_time() > self.ends:
            raise LimitError(f"it runs for more than {SECONDS:g} seconds")

    def allow(self, size: int) -> None:
        """Raise LimitError for a value of so many characters."""
        if size > _LONG:
            self._look()
        else:
            self.tick()
        if size > self.largest:
            raise LimitError(f"it makes a value of more than {self.largest} characters")

    def charge(self, size: int) -> None:
        """Count what was made."""
        self.allow(size)
        self.left -= size
        if self.left < 0:
            raise LimitError("it makes too much text")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox in which rendering ends. Call `start` before each rendering. Thread-safe."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])

    def __init__(self, **options: Any) -> None:
        # without the optimizer nothing is computed while a template is compiled
        super().__init__(optimized=False, finalize=_finalize, **options)
        self.meter = _Meter()
        self.globals.pop("lipsum", None)  # makes any amount of text
        for name in list(self.filters):
            self.add_filter(name, self.filters[name])
        for name in list(self.tests):
            self.tests[name] = self._bounded_test(self.tests[name])
        self.filters[_MADE] = self.made
        self.filters[_CONCAT] = self._concat_parts

    def start(self, size: int) -> None:
        """Begin to render an input of `size` characters in this thread."""
        self.meter.start(size)

    @property
    def tick(self) -> None:
        """Look at the clock; each loop's body begins with it."""
        self.meter.tick()

    def add_filter(self, name: str, found: Callable[..., Any]) -> None:
        """Add a filter, with limits."""
        skipped = 1 if hasattr(found, "jinja_pass_arg") else 0

        @functools.wraps(found)
        def bounded(*args: Any, **named: Any) -> Any:
            values = args[skipped:]
            if name == "join" and values and not isinstance(values[0], str | Sequence):
                values = (list(values[0]), *values[1:])
            value = values[0] if values else None
            limit = self.meter.largest
            size = template_sizes.of_filter(name, value, values[1:], named, limit)
            self.meter.allow(size)
            return self.made(found(*args[:skipped], *values, **named))

        self.filters[name] = bounded

    def _bounded_test(self, test: Any) -> Callable[..., Any]:
        @functools.wraps(test)
        def bounded(*args: Any, **named: Any) -> Any:
            self.meter.tick()
            return test(*args, **named)

        return bounded

    def made(self, value: Any) -> Any:
        """Count a value that a step made, and return it. Raises LimitError."""
        if isinstance(value, str | bytes):
            self.meter.charge(len(value))
        elif isinstance(value, int):
            if value.bit_length() > _MAX_BITS:
                raise LimitError("it makes a number of too many digits")
        elif isinstance(value, list | tuple | dict | set | Namespace):
            self.meter.charge(_ITEM * len(value) if not isinstance(value, Namespace) else _ITEM)
            self.meter.allow(template_sizes.weigh(value, self.meter.largest))
        return value

    def concat(self, parts: Iterable[str]) -> str:
        """Join the parts of a text, as jinja2 does with "".join."""
        found = []
        for part in parts:
            self.meter.charge(len(part))
            found.append(part)
        return "".join(found)

    def _concat_parts(self, parts: list[Any]) -> str:
        """Return what the operator `~` makes of its operands."""
        for part in parts:
            self.meter.allow(template_sizes.weigh(part, self.meter.largest))
        return self.concat(map(str, parts))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute an operator. Raises LimitError."""
        size = template_sizes.of_operator(operator, left, right)
        self.meter.allow(size)
        if size > _MAX_BITS and isinstance(left, int) and isinstance(right, int):
            raise LimitError("it makes a number of too many digits")
        return self.made(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **named: Any) -> Any:  # noqa: N805
        """Call a function, macro or method. Raises LimitError."""
        __self.meter.tick()
        owner = getattr(__obj, "__self__", None)
        if isinstance(__obj, types.BuiltinMethodType) and owner is not None:
            if not isinstance(owner, _METHODS_OF) and not isinstance(owner, types.ModuleType):
                raise LimitError(f"it calls {type(owner).__name__}.{__obj.__name__}")
            __self.meter.allow(template_sizes.of_method(__obj.__name__, owner, args, named))
        elif isinstance(owner, str):  # of Markup, whose methods are functions
            __self.meter.allow(template_sizes.of_method(__obj.__name__, owner, args, named))
        return __self.made(super().call(__context, __obj, *args, **named))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Return the sandbox's `str.format`, with limits."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def bounded(*args: Any, **named: Any) -> str:
            self.meter.allow(template_sizes.of_format(str(value.__self__), args, named))
            return wrapped(*args, **named)

        return bounded

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > MAX_SOURCE:
            raise jinja2.TemplateError(f"it has more than {MAX_SOURCE} characters")
        return _Bound(self).visit(super()._parse(source, name, filename))  # type: ignore[no-any-return]


@pass_context  # so that jinja2 does not call it while it compiles
def _finalize(context: Context, value: Any) -> Any:
    """Look at a value that is written out."""
    meter = context.environment.meter  # type: ignore[attr-defined]
    if not isinstance(value, str):
        meter.allow(template_sizes.weigh(value, meter.largest))
    return value


class _Bound(NodeTransformer):
    """Puts a look at the clock into loops, and limits around what makes values."""

    def __init__(self, environment: jinja2.Environment) -> None:
        self._environment = environment

    def _filter(self, node: nodes.Expr, name: str) -> nodes.Expr:
        return nodes.Filter(
            node, name, [], [], None, None, lineno=node.lineno, environment=self._environment
        )

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - jinja2's names
        self.generic_visit(node)
        tick = nodes.EnvironmentAttribute("tick", lineno=node.lineno)
        node.body.insert(0, nodes.ExprStmt(tick, lineno=node.lineno))
        return node

    def _made(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return self._filter(node, _MADE)

    visit_List = visit_Dict = visit_Compare = _made  # noqa: N815

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return self._filter(node, _MADE) if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return self._filter(node, _MADE) if isinstance(node.arg, nodes.Slice) else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return self._filter(nodes.List(node.nodes, lineno=node.lineno), _CONCAT)
