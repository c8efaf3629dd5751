"""Results as the tables of docs/gpu.md: `python -m checks.tables [--check] [RESULTS...]`.

RESULTS that come from a machine are kept in scripts/gpu/results: check.jsonl as gpu.jsonl or
cpu.jsonl, after the device it is of, and train.json under its name. The page is written anew
from what is kept there. With --check nothing is written, and a page that is stale ends it with 1.
"""

import argparse
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from checks.parts import PARTS
from checks.results import FAILED, NEEDS_GPU, NOT_DONE, PASSED, Line, read

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "gpu.md"
KEPT = Path(__file__).parents[1] / "results"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
_MADE = "Made by `scripts/gpu/report`; do not edit."
_HEADINGS = {
    "gpu": "### On a GPU",
    "cpu": "### A rehearsal on a processor",
}
_REHEARSAL = (
    "There was no GPU: both sides of each comparison ran on the processor. That shows that the "
    "parts run, and no more; what only a GPU can show says so. Other work ran beside it, so its "
    "speeds say nothing."
)
_TITLES = {
    "build": "The build",
    "parity": "Vectors, the GPU's against the processor's: least cosine",
    "answers": "Greedy answers",
    "states": "States that change devices",
    "default": "The model `default`",
    "layers": "Layers on the GPU",
    "speed": "Speed, tokens a second",
    "memory": "Memory by mode, MiB",
    "gptq": "GPTQ",
    "graph": "The float16 graph in ONNX Runtime",
}


def main() -> None:
    """Keep the results named, and write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="*")
    parser.add_argument("--check", action="store_true", help="only say whether the page is stale")
    options = parser.parse_args()
    for path in options.results:
        if path.suffix == ".json":
            shutil.copy(path, KEPT / "train.json")
            continue
        devices = {line["device"] for line in read(path)}
        if len(devices) != 1:
            parser.error(f"{path} is of {len(devices)} devices: name the results of one run")
        shutil.copy(path, KEPT / f"{devices.pop()}.jsonl")
    text = PAGE.read_text(encoding="utf-8")
    wanted = page_of(text)
    if not options.check:
        PAGE.write_text(wanted, encoding="utf-8")
    elif text != wanted:
        sys.exit("docs/gpu.md is stale: run  scripts/gpu/report")


def page_of(page: str) -> str:
    """The page with all that is kept between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    runs = [path for device in _HEADINGS if (path := KEPT / f"{device}.jsonl").exists()]
    parts = [_MADE, wheels(sorted(KEPT.glob("wheel-*.json"))), *map(section, map(read, runs))]
    if not (KEPT / "gpu.jsonl").exists():
        parts.insert(1, "Nothing of this has run on a GPU yet.")
    if (trained := KEPT / "train.json").exists():
        parts.append(training(json.loads(trained.read_text("utf-8"))))
    tables = "\n\n".join(filter(None, parts))
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def wheels(paths: Sequence[Path]) -> str:
    """What building the wheels took; empty for none."""
    if not paths:
        return ""
    built = [json.loads(path.read_text("utf-8")) for path in paths]
    rows = [
        [
            each["architecture"],
            f"{each['bytes'] / 2**20:.1f} MiB",
            f"{each['minutes']} minutes",
            f"{each['jobs']} compilers at a time, {each['processor']}, load {each['load']:.0f}",
        ]
        for each in built
    ]
    return "### The wheel\n\n" + table(["architecture", "size", "built in", "with"], rows)


def training(figures: dict[str, Any]) -> str:
    """A row for each figure of scripts/gpu/train, memory in MiB."""
    rows = [
        [name, f"{value / 2**20:,.0f} MiB" if name.startswith("memory") else str(value)]
        for name, value in _flat(figures)
    ]
    return "### Training\n\n" + table(["figure", "value"], rows)


def _flat(figures: dict[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in figures.items():
        name = f"{within}{key.replace('_', ' ')}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}: ")
        else:
            yield name, value


def section(lines: Sequence[Line]) -> str:
    """The tables of one run; of lines with the same name the last counts."""
    last = {(line["part"], line["name"]): line for line in lines}
    parts: dict[str, list[Line]] = {part.name: [] for part in PARTS}
    for line in last.values():
        parts.setdefault(line["part"], []).append(line)
    parts = {part: found for part, found in parts.items() if found}
    device = lines[0]["device"]
    texts = [_HEADINGS[device], *([_REHEARSAL] if device == "cpu" else []), overview(parts)]
    for part, found in parts.items():
        rows = [line for line in found if line["name"] != "end"]
        body = _BODIES.get(part, plain)(rows)
        texts += [f"#### {_TITLES.get(part, part)}", body] if rows else []
    return "\n\n".join(texts)


def overview(parts: dict[str, list[Line]]) -> str:
    """How many lines of each verdict each part has, and how long it took."""
    verdicts = (PASSED, FAILED, NEEDS_GPU, NOT_DONE)
    rows = []
    for part, lines in parts.items():
        counts = [sum(line["verdict"] == verdict for line in lines) for verdict in verdicts]
        end = next((line for line in lines if line["name"] == "end"), None)
        how = "did not end" if end is None else end.get("reason") or f"{end['seconds']:.0f} s"
        rows.append([part, *map(str, counts), how])
    return table(["part", *verdicts, "ended"], rows)


def plain(lines: Sequence[Line]) -> str:
    """A row for each line, its facts in the last column."""
    rows = [[line["name"], _verdict(line), _facts(line)] for line in lines]
    return table(["what", "verdict", "found"], rows)


def parity(lines: Sequence[Line]) -> str:
    """A row for each architecture, a column for each type."""
    cells: dict[str, dict[str, str]] = {}
    for line in lines:
        case, _, kind = line["name"].rpartition(" ")
        failed = " **failed**" if line["verdict"] == FAILED else ""
        cells.setdefault(case, {})[kind] = floored(line["least_cosine"]) + failed
    kinds = list(dict.fromkeys(kind for row in cells.values() for kind in row))
    wanted = {line["name"].rpartition(" ")[2]: line["wanted"] for line in lines}
    rows = [[case, *(row.get(kind, "") for kind in kinds)] for case, row in cells.items()]
    return table(["", *(f"{kind} (wanted {wanted[kind]})" for kind in kinds)], rows)


def states(lines: Sequence[Line]) -> str:
    """The least of all architectures for each pair of devices and kind of state."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line["name"].partition(", ")[2], []).append(line)
    rows = [
        [
            name,
            floored(min(line["least_cosine"] for line in group)),
            "yes" if all(line["comes_back_the_same"] for line in group) else "**no**",
            ", ".join(sorted({_verdict(line) for line in group})),
        ]
        for name, group in groups.items()
    ]
    return table(["", "least cosine of the logits", "cells come back the same", "verdict"], rows)


def speed(lines: Sequence[Line]) -> str:
    """A row for each contender, and its ratio to the first that is ours."""
    rows = []
    for line in lines:
        rates = line.get("tokens_a_second", {})
        ours = max((rate for name, rate in rates.items() if name.startswith("gritlite")), default=0)
        rows += [
            [line["name"], name, f"{rate:,.0f}", f"{ours / rate:.2f}"]
            for name, rate in rates.items()
        ]
        rows += [] if rates else [[line["name"], line["reason"], "", ""]]
    return table(["model and mode", "by", "tokens/s", "gritlite's best is faster by"], rows)


def memory(lines: Sequence[Line]) -> str:
    """What each mode took, and in brackets what `gritlite inspect` says of it."""
    modes = ("weights", "embed", "chat")
    rows = [
        [
            f"{line['name']}, {line['memory']}",
            *(f"{line[mode] / 2**20:.0f} ({line['inspect'][mode] / 2**20:.0f})" for mode in modes),
        ]
        for line in lines
    ]
    return table(["", *modes], rows)


_BODIES: dict[str, Callable[[Sequence[Line]], str]] = {
    "parity": parity,
    "states": states,
    "speed": speed,
    "memory": memory,
}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(each.replace("|", "/") for each in row) + " |" for row in lines
    )


def floored(number: float) -> str:
    """Six places, never rounded up."""
    return f"{math.floor(number * 1e6) / 1e6:.6f}" if math.isfinite(number) else str(number)


def _verdict(line: Line) -> str:
    return f"**{FAILED}**" if line["verdict"] == FAILED else str(line["verdict"])


def _facts(line: Line) -> str:
    left_out = ("part", "device", "name", "verdict")
    return ", ".join(_words({key: line[key] for key in line if key not in left_out}))


def _words(facts: dict[str, Any]) -> Iterator[str]:
    for key, value in facts.items():
        name = key.replace("_", " ")
        if isinstance(value, dict):
            yield from _words(value)
        elif isinstance(value, list):
            yield f"{name}: {' '.join(map(str, value))}"
        elif key.startswith("memory") or key.endswith("bytes"):
            yield f"{name} {value / 2**20:,.0f} MiB" if value is not None else f"{name} none"
        elif "cosine" in key:
            yield f"{name} {floored(value)}"
        elif isinstance(value, float):
            yield f"{name} {value:.4g}"
        else:
            yield value if key in ("message", "reason") else f"{name} {value}"


if __name__ == "__main__":
    main()
