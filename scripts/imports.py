"""Print which rooms of gritlite import which, and every circle among them.

    python scripts/imports.py [FOLDER]
    python scripts/imports.py --page

A room is a folder or module directly under FOLDER (default: the package `gritlite` beside
this script). Imports inside functions count as well. Exits with 1 if there is a circle.
With --page it writes docs/structure.md, which needs the repository's history.
"""

import ast
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "gritlite"

PAGE = PACKAGE.parent / "docs" / "structure.md"
BEFORE = "b0e82df"  # the last commit with circles
LEFT_OUT = {"__main__", "version"}  # of the picture
TEMPLATE = """\
# Structure

Written by `python scripts/imports.py --page`; do not edit. A room is a folder or module directly
in `gritlite/`; the [README](../README.md#folders) says what each is for. An arrow leads from a
room to one that it imports, inside functions too.

## Now

{now}

The picture leaves out `__main__`, `version`, and arrows that others imply. `init` is
`gritlite/__init__.py`, the public names. `tests/test_package.py` lists the arrows that are
allowed.

## Before

At commit {commit}, with the number of import statements:

```
{before}
```
"""

Arrow = tuple[str, str]  # from the room that imports, to the room that is imported


def arrows(package: Path) -> Counter[Arrow]:
    """How many import statements lead from one room to another."""
    rooms = {path.stem for path in package.iterdir()}
    found: Counter[Arrow] = Counter()
    for path in sorted(package.rglob("*.py")):
        source = path.relative_to(package).with_suffix("").parts[0]
        for target in imported_rooms(path, rooms):
            if target != source:
                found[source, target] += 1
    return found


def imported_rooms(path: Path, rooms: set[str]) -> Iterator[str]:
    """The rooms that a file imports, at any depth of its code, once for each name of a line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "gritlite":
            names = [alias.name for alias in node.names]  # rooms, or names of the package itself
            yield from (name if name in rooms else "__init__" for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gritlite."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "gritlite":
                    yield (alias.name.split(".")[1:2] or ["__init__"])[0]


def circles(found: Counter[Arrow]) -> list[Arrow]:
    """The arrows that lie on a circle."""
    targets: dict[str, set[str]] = {}
    for source, target in found:
        targets.setdefault(source, set()).add(target)
    return sorted(arrow for arrow in found if arrow[0] in _reached(arrow[1], targets))


def _reached(start: str, targets: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        room = todo.pop()
        if room not in seen:
            seen.add(room)
            todo += targets.get(room, set())
    return seen


def reduced(found: Iterable[Arrow]) -> list[Arrow]:
    """The fewest arrows that reach the same rooms; there must be no circle among them."""
    targets: dict[str, set[str]] = {}
    for source, target in found:
        targets.setdefault(source, set()).add(target)
    return sorted(
        (source, target)
        for source, reached in targets.items()
        for target in reached
        if not any(target in _reached(other, targets) for other in reached - {target})
    )


def listed(found: Counter[Arrow]) -> list[str]:
    """Lines of text: what each room imports, how many arrows there are, and those on circles."""
    text = []
    for source in sorted({source for source, _ in found}):
        targets = ", ".join(f"{b} {n}" for (a, b), n in sorted(found.items()) if a == source)
        text.append(f"{source:12} -> {targets}")
    on_circles = circles(found)
    text.append(f"{len(found)} arrows, {len(on_circles)} of them on circles")
    return text + [f"circle: {source} -> {target}" for source, target in on_circles]


def drawn(found: Counter[Arrow]) -> str:
    """Markdown about rooms without circles: a Mermaid graph of the arrows that no others imply."""
    shown = [arrow for arrow in found if not LEFT_OUT & set(arrow)]
    edges = [f"    {source.strip('_')} --> {target}" for source, target in reduced(shown)]
    return "\n".join([f"{listed(found)[-1]}.", "", "```mermaid", "graph TD", *edges, "```"])


def arrows_at(commit: str) -> Counter[Arrow]:
    """The arrows of the package in an earlier commit."""
    command = ["git", "archive", commit, PACKAGE.name]
    archive = subprocess.run(command, cwd=PACKAGE.parent, check=True, capture_output=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        return arrows(Path(folder) / PACKAGE.name)


def main() -> None:
    """Print rooms, arrows and circles, or write the page."""
    if sys.argv[1:] == ["--page"]:
        before = "\n".join(listed(arrows_at(BEFORE)))
        text = TEMPLATE.format(now=drawn(arrows(PACKAGE)), commit=BEFORE, before=before)
        PAGE.write_text(text, encoding="utf-8")
        return
    found = arrows(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)
    print("\n".join(listed(found)))
    sys.exit(bool(circles(found)))


if __name__ == "__main__":
    main()
