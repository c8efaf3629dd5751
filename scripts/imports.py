"""Print which rooms of gritlite import which, and every circle among them.

    python scripts/imports.py [FOLDER]

A room is a folder or module directly under FOLDER (default: the package `gritlite` beside
this script). Imports inside functions count as well. Exits with 1 if there is a circle.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "gritlite"

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


def main() -> None:
    """Print rooms, arrows and circles."""
    found = arrows(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)
    for source in sorted({source for source, _ in found}):
        targets = ", ".join(f"{b} {n}" for (a, b), n in sorted(found.items()) if a == source)
        print(f"{source:12} -> {targets}")
    on_circles = circles(found)
    print(f"{len(found)} arrows, {len(on_circles)} of them on circles")
    for source, target in on_circles:
        print(f"circle: {source} -> {target}")
    sys.exit(bool(on_circles))


if __name__ == "__main__":
    main()
