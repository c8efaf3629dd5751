"""The parts on the processor: they run, pass nothing there, and find out what is wrong."""

import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import slim_wheel
from checks import answers, graph, parity
from checks.comparing import Departure, departure, least_cosine
from checks.models import letters, shaped_file
from checks.parts import Task
from checks.results import FAILED, MEASURED, NEEDS_GPU, NOT_DONE, PASSED, Results, read
from checks.sizes import SIZES

from gritlite import GritLM
from gritlite.runtime.scorer import Scorer

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "name",
    ["build", "parity", "answers", "states", "default", "layers", "speed", "memory", "graph"],
)
def test_a_rehearsal_passes_nothing(run_part, name):
    lines = run_part(name)
    assert lines
    assert {line["verdict"] for line in lines} <= {NEEDS_GPU, MEASURED, NOT_DONE}
    assert {line["device"] for line in lines} == {"cpu"}


def test_what_a_rehearsal_finds(run_part):
    lines = {line["name"]: line for line in run_part("layers")}
    assert "no GPU support" in lines["layers asked for without a GPU"]["message"]
    message = lines["a context that does not fit"]["message"]
    assert message.startswith("no context of ")
    assert str(ROOT) not in json.dumps(list(lines.values()))


def test_vectors_that_differ_have_failed(run_part, monkeypatch):
    cosines = iter([0.9998, float("nan"), 0.9999, 0.9999])
    monkeypatch.setattr(parity, "least_cosine", lambda *_: next(cosines))
    lines = run_part("parity")
    assert [line["verdict"] for line in lines] == [FAILED, FAILED, NEEDS_GPU, NEEDS_GPU]


def test_answers_that_differ_have_failed(run_part, monkeypatch):
    found = iter([Departure(3, 0.01), Departure(3, 0.5), Departure(1, float("nan"))])
    monkeypatch.setattr(answers, "departure", lambda *_: next(found, None))
    lines = run_part("answers")
    assert lines[0]["verdict"] == FAILED
    assert all(line["verdict"] != FAILED for line in lines[1:])


def test_a_gpu_passes_what_holds(tmp_path):
    results = Results(tmp_path / "results.jsonl", "parity", "gpu")
    results.check("good", True)
    results.check("bad", False)
    results.needs_gpu("other", "why")
    verdicts = [line["verdict"] for line in read(results.path)]
    assert verdicts == [PASSED, FAILED, NEEDS_GPU]


def test_a_gpu_that_onnx_runtime_cannot_use_is_left_out(tmp_path):
    results = Results(tmp_path / "results.jsonl", "graph", "gpu")
    graph.run(Task(results, SIZES["small"], tmp_path))
    (line,) = read(results.path)
    assert line["verdict"] == NOT_DONE
    assert "gritlite[onnx-gpu]" in line["reason"]


def test_least_cosine():
    rows = np.array([[1, 0], [3, 4]], np.float32)
    assert least_cosine(rows, 2 * rows) == pytest.approx(1)
    assert least_cosine(rows, np.array([[1, 0], [4, -3]], np.float32)) == pytest.approx(0)
    assert np.isnan(least_cosine(rows, np.array([[1, 0], [np.nan, 1]], np.float32)))


def test_a_departure_is_judged_by_the_first_model(tmp_path):
    with GritLM(shaped_file(tmp_path, "small"), threads=1) as model:
        prompt = [1, *model.tokenize(letters(8))]
        logits = Scorer(model).logits([*prompt, 0], len(prompt))[0]
        best, worst = int(logits.argmax()), int(logits.argmin())
        assert departure(model, prompt, [best, 5], [best, 5]) is None
        found = departure(model, prompt, [best], [worst])
        expected = (logits[best] - logits[worst]) / logits.std()
        assert found.after_tokens == 0
        assert found.gap == pytest.approx(expected, rel=1e-3)
        assert departure(model, prompt, [best, 5], [best]) == Departure(1, float("inf"))


def test_a_shaped_file_has_its_shape(tmp_path):
    with GritLM(shaped_file(tmp_path, "small"), threads=1) as model:
        assert model.dimension == 256
        assert len(model.tokenize(letters(100))) == 100
        vectors = model.encode([letters(40, 1), letters(40, 2)])
        assert 0 < vectors[0] @ vectors[1] < 0.999


def test_a_slim_wheel_has_each_library_once(tmp_path):
    wheel = tmp_path / "some-1.whl"
    libraries = [
        f"{folder}/lib{name}.so{end}"
        for folder in ("llama_cpp/lib", "lib")
        for name in ("llama", "ggml-cuda", "mtmd")
        for end in ("", ".0", ".0.5.0")
    ]
    names = [*libraries, "include/llama.h", "llama_cpp/__init__.py", "some-1.dist-info/METADATA"]
    with zipfile.ZipFile(wheel, "w") as file:
        for name in names:
            file.writestr(name, name)
        record = "some-1.dist-info/RECORD"
        file.writestr(record, "".join(f"{name},sha256=x,1\n" for name in names) + f"{record},,\n")
    (tmp_path / "slim").mkdir()
    slim_wheel.slim(wheel, tmp_path / "slim" / wheel.name)
    with zipfile.ZipFile(tmp_path / "slim" / wheel.name) as file:
        kept = file.namelist()
        recorded = [line.split(",")[0] for line in file.read(record).decode().splitlines()]
    assert kept == recorded
    assert set(kept) == {
        "llama_cpp/lib/libllama.so",
        "llama_cpp/lib/libggml-cuda.so.0",
        "llama_cpp/__init__.py",
        "some-1.dist-info/METADATA",
        record,
    }


def test_scripts_are_whole_and_say_what_they_lack(tmp_path):
    for script in ("build", "build-wheel", "check", "report", "setup.sh"):
        subprocess.run(["sh", "-n", ROOT / "scripts" / "gpu" / script], check=True)
    done = subprocess.run(
        [ROOT / "scripts" / "gpu" / "check"],
        env={"PATH": "/usr/bin:/bin", "GPU_WHEELS": str(tmp_path), "OUT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "run scripts/gpu/build" in done.stderr
