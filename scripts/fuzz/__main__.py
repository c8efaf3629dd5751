"""Try random inputs of one kind, and print how they ended as JSON.

    python scripts/fuzz documents --inputs 10000 --seed 1

Exits with 1 if an input failed. `--first N --inputs 1` with the same seed tries input N again.
"""

import argparse
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # for `fuzz`
sys.path.insert(1, str(Path(__file__).parents[2]))  # for `gritlite` and `tests`

from fuzz.counting import run  # noqa: E402


def main() -> int:
    """Run the fuzzer that the command line names."""
    names = sorted(each.stem for each in Path(__file__).parent.glob("[a-z]*.py"))
    targets = [name for name in names if name not in ("counting", "mutation")]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=targets)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER")
    options = parser.parse_args()
    fuzzer = importlib.import_module(f"fuzz.{options.target}")
    counts = run(options.target, fuzzer.case, options.inputs, options.seed, options.first)
    print(json.dumps(asdict(counts)))
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
