"""A few hundred inputs of each fuzzer in `scripts/fuzz`, each time the tests run.

docs/reliability.md has the figures of long runs.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import counting

FUZZ = Path(__file__).parents[2] / "scripts" / "fuzz"
INPUTS = {
    "checkpoints": 200,
    "documents": 150,
    "hubs": 60,
    "model_files": 60,
    "schemas": 150,
    "stores": 100,
    "texts": 300,
}


@pytest.mark.parametrize(("target", "inputs"), INPUTS.items())
def test_no_input_fails(
    target: str, inputs: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GRITLITE_CACHE", str(tmp_path))
    done = subprocess.run(
        [sys.executable, FUZZ, target, "--inputs", str(inputs), "--seed", "20"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["right"] > inputs // 20
    assert counts["right"] + counts["refused"] == inputs


def test_a_failure_is_counted_and_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[float] = []

    def case(random: counting.random.Random) -> counting.Outcome:
        seen.append(random.random())
        if seen[-1] > 0.5:
            raise ValueError("found")
        return "right"

    counts = counting.run("target", case, 20, seed=1)
    assert 0 < counts.failed < 20
    assert counts.right == 20 - counts.failed
    assert "ValueError: found" in capsys.readouterr().err
    number = counts.failures[0]
    assert counting.run("target", case, 1, seed=1, first=number).failures == [number]
    assert seen[-1] == seen[number]
