"""Perplexity: chunked as llama-perplexity does, which llama.cpp's own logits confirm."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gritlite import GritLM
from gritlite.errors import FileError, FormatError, InputError
from gritlite.eval.perplexity import Perplexity
from tests.reference import loaded, logits, tokenize

TEXT = " = Robert Boulter = \n \n Robert Boulter is an English film actor . \n" * 50


def no_progress(done: int, count: int) -> None:
    assert 0 <= done <= count


def as_llama_perplexity(path: Path, text: str, limit: int | None) -> tuple[float, float, int]:
    """The perplexity, its standard error and the tokens scored, as perplexity.cpp has it."""
    nll = nll2 = 0.0
    count = 0
    n_ctx, first = 512, 256
    with loaded(path) as model:
        tokens = tokenize(model, text)
        bos = tokens[0] if tokenize(model, "") else None
        n_chunk = len(tokens) // n_ctx
        for start in range(0, min(n_chunk, limit or n_chunk) * n_ctx, n_ctx):
            chunk = tokens[start : start + n_ctx]
            if bos is not None:
                chunk[0] = bos
            rows = logits(model, chunk).astype(np.float64)
            for i in range(first, n_ctx - 1):
                row = rows[i] - rows[i].max()
                loss = math.log(np.exp(row).sum()) - row[tokens[start + i + 1]]
                nll += loss
                nll2 += loss * loss
                count += 1
    nll /= count
    nll2 = nll2 / count - nll * nll
    return math.exp(nll), math.sqrt(nll2 / (count - 1)) * math.exp(nll), count


@pytest.mark.parametrize("limit", [None, 2])
@pytest.mark.parametrize("case", ["mistral", "qwen2"])
def test_as_llama_perplexity_counts_it(
    tiny_file: Callable[..., Path], tmp_path: Path, case: str, limit: int | None
) -> None:
    path = tmp_path / "test.txt"
    path.write_text(TEXT, "utf-8")
    with GritLM(tiny_file(case), threads=1) as model:
        (score,) = Perplexity(path, limit=limit).run(model, no_progress)
    value, error, count = as_llama_perplexity(tiny_file(case), TEXT, limit)
    assert (score.task, score.measure) == ("perplexity test.txt", "perplexity")
    assert score.count == count
    assert count % 255 == 0
    assert count > 255
    assert score.value == pytest.approx(value, rel=1e-3)
    assert f"standard error {error:.3g}; the first {count // 255} of " in score.note
    assert score.note.endswith("chunks of 512 tokens")


def test_progress(tiny_model: GritLM, tmp_path: Path) -> None:
    path = tmp_path / "test.txt"
    path.write_text(TEXT, "utf-8")
    seen: list[tuple[int, int]] = []
    Perplexity(path, limit=3).run(tiny_model, lambda done, count: seen.append((done, count)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_refusals(tiny_model: GritLM, tmp_path: Path) -> None:
    path = tmp_path / "test.txt"
    with pytest.raises(FileError, match="cannot read"):
        Perplexity(path)
    path.write_text(" \n", "utf-8")
    with pytest.raises(FormatError, match="holds no text"):
        Perplexity(path)
    path.write_text("Robert Boulter is an actor.", "utf-8")
    with pytest.raises(InputError, match=r"test.txt: \d+ tokens, but a chunk has 512"):
        Perplexity(path).run(tiny_model, no_progress)
