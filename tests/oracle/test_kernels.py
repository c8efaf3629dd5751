"""What a layer computes between its products: compiled as plain, and derivatives as autograd's."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gritlite.train import kernels
from gritlite.train.kernels import Kernels

pytestmark = pytest.mark.torch
PLAIN = Kernels()
NAMES = [each.name for each in dataclasses.fields(Kernels)]
HEADS = (4, 2)  # of queries, of keys
WIDTH = 8


@pytest.fixture(scope="module")
def fused() -> Kernels:
    made = kernels.compiled()
    assert made is not None
    return made


def arguments(name: str, tokens: int, dtype: torch.dtype) -> Sequence[Any]:
    """Random arguments of a kernel."""
    torch.manual_seed(tokens)
    rows, scale = torch.randn(tokens, 32), torch.rand(tokens, 1) + 0.5
    angles = torch.rand(tokens, WIDTH // 2).repeat(1, 2)
    turns = (angles.cos(), angles.sin(), *HEADS)
    narrow = torch.randn(tokens, 32).to(dtype)
    qkv = torch.randn(tokens, (HEADS[0] + 2 * HEADS[1]) * WIDTH).to(dtype)
    scores = torch.randn(2, 4, tokens, tokens).to(dtype)
    bias = torch.full((tokens, tokens), -torch.inf).triu(1).expand(2, 1, -1, -1)
    return {
        "norm": (rows, narrow, torch.rand(32), 1e-5, dtype),
        "norm_backward": (rows, narrow, torch.randn(tokens, 32), torch.rand(32), scale),
        "gated": (narrow,),
        "gated_backward": (narrow, narrow[:, :16]),
        "rotated": (qkv, *turns),
        "rotated_backward": (qkv.view(tokens, -1, WIDTH), *turns),
        "shares": (scores, bias),
        "shares_backward": (scores, torch.softmax(scores.float(), -1).to(dtype)),
    }[name]


def computed(made: Kernels, name: str, given: Sequence[Any]) -> list[Tensor]:
    found = getattr(made, name)(*given)
    return list(found) if isinstance(found, tuple) else [found]


@pytest.mark.parametrize("name", NAMES)
def test_compiled_functions_compute_what_the_plain_ones_do(name: str, fused: Kernels) -> None:
    for tokens in (5, 40):
        given = arguments(name, tokens, torch.bfloat16)
        expected = computed(PLAIN, name, given)
        for found, plain in zip(computed(fused, name, given), expected, strict=True):
            assert found.dtype == plain.dtype
            # one rounding apart
            exact = 1e-5 if found.dtype == torch.float32 else 2**-7
            torch.testing.assert_close(found.float(), plain.float(), rtol=exact, atol=exact)


def test_a_machine_without_a_compiler_takes_the_plain_functions(tmp_path: Path) -> None:
    code = "from gritlite.train.kernels import compiled; print(compiled())"
    nowhere = {"CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "None\n"
    assert run.stderr == ""
