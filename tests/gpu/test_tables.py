"""The page says what the kept results say, and nothing that was typed."""

import shutil
import sys

import pytest
from checks import tables
from checks.results import Results, read


def lines_of(tmp_path, device="gpu"):
    path = tmp_path / f"{device}.jsonl"
    parity = Results(path, "parity", device)
    parity.check("mistral f32", True, least_cosine=0.99999999, wanted=0.9999)
    parity.check("mistral f16", False, least_cosine=0.98, wanted=0.9999)
    parity.end("measured", 12.34)
    Results(path, "speed", device).measure(
        "7B decode", tokens_a_second={"gritlite": 150.0, "Llama": 100.0, "torch": 300.0}
    )
    sizes = {"weights": 2**20, "embed": 2**21, "chat": 2**22}
    Results(path, "memory", device).measure("7B", memory="of the GPU", inspect=sizes, **sizes)
    Results(path, "gptq", device).end("failed", 3.0, "killed by SIGSEGV")
    return read(path)


def test_the_page_is_made_of_the_kept_results():
    page = tables.PAGE.read_text("utf-8")
    assert page == tables.page_of(page)
    assert (tables.KEPT / "cpu.jsonl").exists()


def test_no_kept_result_names_a_path_or_passes_on_a_processor():
    for path in tables.KEPT.iterdir():
        text = path.read_text("utf-8")
        assert "/work/" not in text
        assert "/tmp/" not in text
    assert "passed" not in {line["verdict"] for line in read(tables.KEPT / "cpu.jsonl")}


def test_a_section(tmp_path):
    text = tables.section(lines_of(tmp_path))
    assert "| parity | 1 | 1 | 0 | 0 | 12 s |" in text
    assert "| gptq | 0 | 1 | 0 | 0 | killed by SIGSEGV |" in text
    assert "| mistral | 0.999999 | 0.980000 **failed** |" in text  # not rounded up
    assert "| 7B decode | torch | 300 | 0.50 |" in text
    assert "| 7B, of the GPU | 1 (1) | 2 (2) | 4 (4) |" in text
    assert tables._REHEARSAL not in text
    assert tables._REHEARSAL in tables.section(lines_of(tmp_path, "cpu"))


def test_the_last_line_of_a_name_counts(tmp_path):
    lines = lines_of(tmp_path)
    again = [{**lines[1], "verdict": "passed", "least_cosine": 0.99995}]
    assert "| mistral | 0.999999 | 0.999950 |" in tables.section([*lines, *again])


def test_results_are_kept_by_their_device(tmp_path, monkeypatch):
    page = tmp_path / "gpu.md"
    page.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n", "utf-8")
    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setattr(tables, "PAGE", page)
    monkeypatch.setattr(tables, "KEPT", kept)
    lines_of(tmp_path)
    new = tmp_path / "check.jsonl"
    shutil.move(tmp_path / "gpu.jsonl", new)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tables", *map(str, arguments)])
        tables.main()

    with pytest.raises(SystemExit, match="stale"):
        run("--check")
    run(new)
    assert (kept / "gpu.jsonl").read_bytes() == new.read_bytes()
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "### On a GPU" in text
    assert "### The wheel" not in text
    run("--check")
    facts = '"minutes": 9, "jobs": 2, "processor": "A", "load": 7.6'
    built = f'{{"architecture": "90", "bytes": 3145728, {facts}}}'
    (kept / "wheel-90.json").write_text(built, "utf-8")
    row = "| 90 | 3.0 MiB | 9 minutes | 2 compilers at a time, A, load 8 |"
    assert row in tables.page_of(text)


def test_the_figures_of_training():
    text = tables.training({"device": "gpu", "memory_peak": 2**30, "losses": {"contrastive": 0.5}})
    assert "| device | gpu |" in text
    assert "| memory peak | 1,024 MiB |" in text
    assert "| losses: contrastive | 0.5 |" in text
