"""Counts that llama.cpp would cut to 32 bits, or abort on, are refused before they reach it."""

from pathlib import Path
from typing import Any

import pytest

from gritlite import GritLM, OutOfMemoryError, UsageError
from gritlite.modelfile.memory import generate_memory
from gritlite.system import machine


@pytest.mark.parametrize(
    "options",
    [
        {"context_length": 2**32 + 64},  # 64 in 32 bits
        {"context_length": 2**31 - 255},
        {"context_length": 0},
        {"context_length": -1},
        {"threads": 10**6},
        {"threads": 513},
        {"pass_tokens": 2**40},
    ],
    ids=str,
)
def test_counts_out_of_range(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(UsageError, match=f"{name} is {options[name]}: expected"):
        GritLM("looked for later.gguf", **options)


@pytest.mark.parametrize("count", [2**32, -1])
def test_layers_out_of_range(tiny_path: Path, count: int) -> None:
    with pytest.raises(UsageError, match=f"gpu_layers is {count}: expected"):
        GritLM(tiny_path, threads=1, gpu_layers=count)


def test_the_longest_context_asks_for_too_much_memory(tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1, context_length=2**31 - 256) as model:
        with pytest.raises(
            OutOfMemoryError, match=r"no context of 2147483392 tokens .* MiB are free"
        ):
            model.generate("Once", max_tokens=1)
        assert len(model.encode("Once")) == model.dimension


def test_a_context_needs_free_memory(tiny_model: GritLM, monkeypatch: pytest.MonkeyPatch) -> None:
    need = generate_memory(tiny_model.file, tiny_model.context_length).without_weights
    monkeypatch.setattr(machine, "available_memory", lambda: need - 1)
    with pytest.raises(OutOfMemoryError, match=r"no context of 1024 tokens .*: use a shorter one"):
        tiny_model.generate("Once", max_tokens=1)
    monkeypatch.setattr(tiny_model._generator, "_context_bytes", 0)  # of a model on a device
    assert tiny_model.generate("Once", max_tokens=1) is not None
    tiny_model._generator.close()
    for free in (need, None):  # None: a system that does not tell
        with GritLM(tiny_model.path, threads=1) as model:
            monkeypatch.setattr(machine, "available_memory", lambda free=free: free)
            model.generate("Once", max_tokens=1)


@pytest.mark.parametrize("count", [0, -1, 99999999999999999999])
def test_counts_of_passages(tmp_path: Path, tiny_model: GritLM, count: int) -> None:
    from gritlite import Store

    with Store.open(tmp_path / "notes.grit", tiny_model) as store:
        with pytest.raises(UsageError, match=f"count is {count}: expected 1 to 2147483647"):
            store.search("inn", count)
        with pytest.raises(UsageError, match="rerank is 99999999999999999999: expected 0, or 3 to"):
            store.search("inn", 3, rerank=99999999999999999999)
        assert store.search("inn", 2**31 - 1) == []
