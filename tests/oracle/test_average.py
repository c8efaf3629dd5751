"""The mean of two adapters of the default model's recipe."""

import sys
from pathlib import Path

import pytest
import torch

from gritlite import FormatError
from gritlite.train.run import with_sorted_metadata

pytestmark = pytest.mark.torch
sys.path.append(str(Path(__file__).parents[2] / "recipes" / "default"))


def write(folder: Path, seed: int, rank: int = 2) -> dict[str, torch.Tensor]:
    """An adapter of random matrices in float16."""
    random = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn(shape, generator=random).half()
        for name, shape in (("x.lora_A.weight", (rank, 8)), ("x.lora_B.weight", (8, rank)))
    }
    folder.mkdir()
    (folder / "adapter_config.json").write_text(f'{{"r": {rank}, "seed": {seed}}}')
    (folder / "adapter_model.safetensors").write_bytes(
        with_sorted_metadata(tensors, {"format": "pt", "piece": str(seed)})
    )
    return tensors


def test_it_is_the_mean_and_says_what_the_second_says(tmp_path: Path) -> None:
    from average import average, read

    first, second = (write(tmp_path / str(seed), seed) for seed in (1, 2))
    average(tmp_path / "1", tmp_path / "2", tmp_path / "mean")
    found, metadata = read(tmp_path / "mean")
    assert metadata == {"format": "pt", "piece": "2"}
    assert (tmp_path / "mean/adapter_config.json").read_text() == '{"r": 2, "seed": 2}'
    assert found.keys() == first.keys()
    for name, tensor in found.items():
        expected = (first[name].double() + second[name].double()) / 2
        torch.testing.assert_close(tensor.double(), expected, rtol=1e-3, atol=1e-6)


def test_adapters_of_different_ranks_are_refused(tmp_path: Path) -> None:
    from average import average

    write(tmp_path / "1", 1)
    write(tmp_path / "2", 2, rank=3)
    with pytest.raises(FormatError, match="not of the same base and rank"):
        average(tmp_path / "1", tmp_path / "2", tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
