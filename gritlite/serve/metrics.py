"""Counters, and their text for Prometheus (prometheus.io/docs/instrumenting/exposition_formats).

A dozen lines stand in for a library: the server has counters and gauges only.
"""

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LEFT = 499  # as nginx counts requests whose client went away
HELP = {
    "requests_total": "Requests by address and status; 499: the client went away.",
    "request_seconds_total": "Seconds that requests took, by address.",
    "prompt_tokens_total": "Tokens of prompts.",
    "cached_tokens_total": "Tokens of prompts that needed no evaluation.",
    "generated_tokens_total": "Tokens of answers.",
    "embedded_texts_total": "Texts that were embedded.",
    "embedded_tokens_total": "Tokens that were embedded, prompts included.",
    "answers_running": "Answers that are being generated.",
    "answers_waiting": "Requests that wait for their answer to begin.",
    "embeddings_pending": "Requests whose texts are being embedded, or wait for it.",
    "ready": "1 once the model is loaded.",
    "resident_memory_bytes": "Memory that the process takes.",
}
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counts what the server does. For one thread."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, Labels], float] = defaultdict(float)

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter of HELP."""
        self._counts[name, tuple(labels.items())] += amount

    def text(self, gauges: Mapping[str, float]) -> str:
        """All counters and these gauges, as Prometheus reads them."""
        lines: list[str] = []
        for name, told in HELP.items():
            found = [(labels, n) for (each, labels), n in self._counts.items() if each == name]
            if name in gauges:
                found.append(((), gauges[name]))
            lines += _family(name, told, found)
        return "\n".join(lines) + "\n"


def _family(name: str, told: str, samples: Iterable[tuple[Labels, float]]) -> Iterable[str]:
    kind = "counter" if name.endswith("_total") else "gauge"
    yield f"# HELP gritlite_{name} {told}"
    yield f"# TYPE gritlite_{name} {kind}"
    for labels, value in samples:
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
        yield f"gritlite_{name}{{{shown}}} {value}" if shown else f"gritlite_{name} {value}"


def _escaped(text: str) -> str:
    return re.sub(r'([\\"])', r"\\\1", text).replace("\n", r"\n")


class Counting:
    """Counts requests. Outermost of the guards, so that refusals are counted too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), _LEFT

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # the route's own path, for addresses that do not exist are without number
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.add("requests_total", path=path, status=str(status))
            seconds = time.perf_counter() - started
            self._metrics.add("request_seconds_total", seconds, path=path)


def resident_memory() -> int | None:
    """The bytes of memory that this process takes; None where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    import resource

    return int(pages) * resource.getpagesize()
