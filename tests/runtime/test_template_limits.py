"""Templates of strangers end: hostile ones are stopped, and ordinary ones render as before."""

import subprocess
import sys

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gritlite import GritLM
from gritlite.errors import FormatError, UsageError
from gritlite.runtime.template import ChatTemplate, _environment
from gritlite.runtime.template_sandbox import MAX_SOURCE


def grown(start: str, step: str, end: str = "") -> str:
    """Return a template that makes a value larger sixty times."""
    return (
        f"{{% set n = namespace(s={start}, t={start}) %}}{{% for i in range(60) %}}"
        f"{{% set n.s = {step} %}}{{% set n.t = {step.replace('n.s', 'n.t')} %}}{{% endfor %}}{end}"
    )


# each of them runs for hours, or fills the memory, in jinja2's own sandbox
HOSTILE = {
    "center": "{{ 'x'|center(10**10) }}",
    "center, by method": "{{ 'x'.center(9000000000) }}",
    "ljust": "{{ 'x'.ljust(9000000000) }}",
    "zfill": "{{ 'x'.zfill(9000000000) }}",
    "expandtabs": "{{ '\\t'.expandtabs(9000000000) }}",
    "percent": "{{ '%1000000000d' % 1 }}",
    "percent star": "{{ '%*d' % (1000000000, 1) }}",
    "percent precision": "{{ '%.1000000000f' % 1.0 }}",
    "format": "{{ '{:1000000000}'.format(1) }}",
    "format nested": "{{ '{:{}}'.format(1, 1000000000) }}",
    "format map": "{{ '{x:1000000000}'.format_map({'x': 1}) }}",
    "format filter": "{{ '%1000000000d'|format(1) }}",
    "times": "{{ 'x' * 10000000000 }}",
    "times, list": "{{ [1] * 10000000000 }}",
    "times, other way": "{{ 10000000000 * 'x' }}",
    "power": "{{ 10 ** 10000000000 }}",
    "powers": "{{ 3 ** 60000 * 3 ** 60000 }}",
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "silent loops": "{% for a in range(99999) if range(99999)|sum < 0 %}{% endfor %}",
    "text in loops": "{% for a in range(99999) %}" + "x" * 100_000 + "{% endfor %}",
    "text in a set block": "{% set t %}"
    + "{% for a in range(99999) %}" * 2
    + "x{% endfor %}" * 2
    + "{% endset %}",
    "doubling": grown("'x'", "n.s ~ n.s"),
    "doubling by +": grown("'x'", "n.s + n.s"),
    "doubling a list": grown("[1]", "n.s + n.s"),
    "a billion laughs": grown("'ha'", "[n.s, n.s]", "{{ n.s }}"),
    "laughs in dicts": grown("'ha'", "{'a': n.s, 'b': n.s}", "{{ n.s|tojson }}"),
    "laughs in namespaces": grown("'ha'", "namespace(a=n.s, b=n.s)", "{{ n.s }}"),
    "laughs compared": grown("'ha'", "[n.s, n.s]", "{{ n.s == n.t }}"),
    "macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
    "{% endmacro %}{{ f(80) }}",
    "recursive loop": "{% for i in [0] recursive %}{{ loop([1]) }}{{ loop([1]) }}{% endfor %}",
    "replace": "{% set x = 'x' * 100000 %}{{ x.replace('x', x) }}",
    "replace nothing": "{% set x = 'x' * 100000 %}{{ x|replace('', x) }}",
    "join": "{{ range(99999)|join('x' * 100000) }}",
    "join, by method": "{{ ('x' * 100000).join(['a'] * 100000) }}",
    "indent": "{{ ('\\n' * 100000)|indent('x' * 100000) }}",
    "wordwrap": "{{ ('x ' * 10000)|wordwrap(1, wrapstring='x' * 100000) }}",
    "tojson": "{{ range(9999)|list|tojson(indent=1000000) }}",
    "batch": "{{ [1]|batch(10000000000, 'x')|list }}",
    "slice": "{{ [1]|slice(10000000000)|list }}",
    "translate": "{{ ('x' * 100000).translate({120: 'y' * 100000}) }}",
    "striptags": "{{ ('<' * 4000000)|striptags }}",
    "sum of lists": "{{ ([[1]] * 500000)|sum(start=[]) }}",
    "to_bytes": "{{ (1).to_bytes(10000000000, 'big') }}",
    "fromkeys": "{{ {}.fromkeys(range(99999), 'x' * 100000) }}",
    "lipsum": "{{ lipsum(n=100000000) }}",
    "strftime": "{{ strftime_now('%1000000000Y') }}",
    "map": "{{ ['x']|map('center', 10000000000)|list }}",
    "round": "{{ 1.5|round(1000000000, 'ceil') }}",
    "split": "{% set x = 'a b ' * 1900000 %}{{ x.split()|length }}",
    "many values": "".join(f"{{% set x{i} = 'x' * 7900000 %}}" for i in range(900)),
}

RENDER = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
from gritlite.runtime.template import _environment
from gritlite.runtime.template_sandbox import LimitError
for source in sys.stdin.read().split("\\0"):
    environment = _environment()
    start = time.process_time()
    try:
        template = environment.from_string(source)
        environment.start(100)
        text = template.render(messages=[{"role": "user", "content": "hello"}])
        result = "rendered"
    except Exception as error:
        result = f"{type(error).__name__}: {error}"
    print(round(time.process_time() - start, 1), result.replace("\\n", " ")[:200], sep="\\t")
"""


def test_hostile_templates_are_stopped() -> None:
    """Within 2 GiB of address space and a few seconds each, and with a reason."""
    done = subprocess.run(
        [sys.executable, "-c", RENDER],
        input="\0".join(HOSTILE.values()),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(lines) == len(HOSTILE)
    for name, (seconds, result) in zip(HOSTILE, lines, strict=True):
        kind, _, reason = result.partition(": ")
        assert kind in ("LimitError", "UndefinedError", "RecursionError"), (name, result)
        assert reason, name
        assert float(seconds) < 6, (name, seconds)


def test_the_error_names_the_template_and_the_reason(tiny_model: GritLM) -> None:
    def render(source: str) -> str:
        return ChatTemplate(tiny_model._tokenizer, source).render([{"role": "user", "content": ""}])

    for source, kind, message in (
        (
            HOSTILE["center"],
            FormatError,
            "chat template was stopped: it makes a value of more than",
        ),
        (HOSTILE["loops"], FormatError, "was stopped: it runs for more than 2 seconds"),
        ("{{ raise_exception('') }}", UsageError, "rejects these messages: TemplateError$"),
        ("{{ raise_exception('no') }}", UsageError, "rejects these messages: no$"),
        ("x" * (MAX_SOURCE + 1), FormatError, "it has more than 1000000 characters"),
        (
            "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
            FormatError,
            "not valid Jinja: .*recursion",
        ),
        ("{{ 'a'.__class__.x }}", UsageError, "rejects these messages: access to attribute"),
    ):
        with pytest.raises(kind, match=message):
            render(source)


def test_a_long_chat_is_no_hostile_one() -> None:
    environment = _environment()
    template = environment.from_string(
        "{% for m in messages %}{{ m.role + ':' + m.content | trim }}{% endfor %}"
    )
    messages = [{"role": "user", "content": "word " * 1_000_000}] * 4
    environment.start(20_000_000)
    assert len(template.render(messages=messages)) > 19_000_000


ORDINARY = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] | trim }}{% endfor %}",
    "{% set ns = namespace(last=-1, text='') %}{% for m in messages[::-1] %}"
    "{% if m.role == 'user' and ns.last < 0 %}{% set ns.last = loop.index0 %}{% endif %}"
    "{% set ns.text = ns.text ~ m.content[:2] ~ 3 ~ none ~ [1] %}{% endfor %}"
    "{{ ns.last }}{{ ns.text }}",
    "{%- macro part(m, up=false) -%}{{ m.content | upper if up else m.content }}{%- endmacro -%}"
    "{{ part(messages[0]) }}{{ part(messages[-1], up=true) }}",
    "{% set content %}{% for m in messages %}{{ m.content }}{% endfor %}{% endset %}"
    "{{ content | length }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(',') }}",
    "{{ messages | tojson(indent=2) }}{{ {'a': (1, 2.5), 'b': [none, true]} }}{{ messages }}",
    "{{ '%s: %05.2f' % ('x', 1.5) }}{{ '{:>5}|{}'.format('a', 2) }}{{ 'a-b'.split('-') }}"
    "{{ 7 // 2 }}",
    "{% for a, b in {'x': 1, 'y': 2}.items() %}{{ a }}{{ b ** 3 }}{{ loop.last }}"
    "{% else %}no{% endfor %}",
    "{{ messages[1].nothing }}{{ missing }}{{ missing is defined }}"
    "{{ (messages | last).role in ['user'] }}",
    "{{ 'a b'|replace(' ', '_')|title|indent(2, true) }}{{ [3, 1]|sort|first }}{{ 'x'|center(5) }}",
    "{% if messages | length > 2 and not (messages[0].role != 'system') %}y{% endif %}"
    "{{ 1 < 2 < 3 }}",
    "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}"
    "{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{{ '<b>' | escape }}{{ '<b>' | safe }}{{ ('<' | escape) ~ '>' }}{{ 'a' 'b' }}"
    "{{ x | default('d') }}",
    "{% for i in range(3) recursive %}{{ i }}{% if i > 1 %}{{ loop([0]) }}{% endif %}{% endfor %}",
)


@pytest.mark.parametrize("source", ORDINARY)
def test_ordinary_templates_render_as_in_jinja2(source: str) -> None:
    messages = [
        {"role": "system", "content": " be brief "},
        {"role": "user", "content": "é <b>\n"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "and?"},
    ]
    plain = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    bounded = _environment()
    plain.filters["tojson"] = bounded.filters["tojson"]
    expected = plain.from_string(source).render(messages=messages)
    bounded.start(100)
    assert bounded.from_string(source).render(messages=messages) == expected
