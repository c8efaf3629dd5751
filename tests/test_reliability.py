"""docs/reliability.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and ".py`" in line]


def test_every_named_test_exists() -> None:
    assert len(ROWS) > 20
    for row in ROWS:
        file = None
        for name in re.findall(r"`([^`]+)`", row.split("|")[2]):
            if name.endswith(".py"):
                file = ROOT / name
                assert file.is_file(), name
            elif name.startswith("test_"):
                assert file is not None, row
                assert f"def {name}(" in file.read_text(encoding="utf-8"), (file.name, name)
