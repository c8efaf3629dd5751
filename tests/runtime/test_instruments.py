"""An observer's inputs, compared with the same products computed in numpy."""

import threading
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from gritlite.errors import ClosedError
from gritlite.prompt import Attention
from gritlite.runtime.instruments import Observer
from gritlite.runtime.llama import MatrixInput
from gritlite.runtime.model import GritLM
from tests.sample_gguf import LAYERS, write_model

ATTENTIONS: tuple[Attention, ...] = ("causal", "bidirectional")
TEXTS = [[1, 40, 41, 42], [1, 60, 61], [1, 99]]
FLAT = [token for tokens in TEXTS for token in tokens]


def weights_of(path: Path) -> dict[str, NDArray[np.float32]]:
    return {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}


def seen_in(path: Path, attention: Attention) -> list[MatrixInput]:
    seen: list[MatrixInput] = []
    with (
        GritLM(path, threads=1) as model,
        Observer(model, seen.append, attention=attention, pass_tokens=64) as observer,
    ):
        observer.run(TEXTS)
    return seen


def normed(values: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    result: NDArray[np.float32] = (
        values / np.sqrt(np.square(values).mean(axis=1, keepdims=True) + 1e-5) * scale
    )
    return result


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_every_layer_matrix_is_observed_once(attention: Attention, tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    seen = seen_in(path, attention)
    matrices = [
        name
        for name, values in weights_of(path).items()
        if name.startswith("blk.") and values.ndim == 2
    ]
    # the last layer's outputs are wanted for every token, so nothing is left out there
    assert sorted(one.tensor for one in seen) == sorted(matrices)
    assert len(matrices) == 7 * LAYERS
    assert all(len(one.inputs) == len(one.matrices) == len(FLAT) for one in seen)
    assert all(one.count == 1 and not one.matrices.any() for one in seen)


def test_the_first_layers_input_is_the_normalised_embeddings(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    weights = weights_of(path)
    expected = normed(weights["token_embd.weight"][FLAT], weights["blk.0.attn_norm.weight"])
    found = {one.tensor: one.inputs for one in seen_in(path, "causal")}
    for part in "qkv":
        assert np.allclose(found[f"blk.0.attn_{part}.weight"], expected, atol=1e-5)


def test_the_modes_differ_in_attention(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    causal, both = (
        {one.tensor: one.inputs for one in seen_in(path, attention)} for attention in ATTENTIONS
    )
    name = "blk.0.attn_output.weight"
    last = np.array([3, 6, 8])  # of each text: it sees all of it in either mode
    assert np.allclose(causal[name][last], both[name][last], atol=1e-3)
    others = np.setdiff1d(np.arange(len(FLAT)), last)
    assert np.abs(causal[name][others] - both[name][others]).max(axis=1).min() > 1e-3


def test_an_expert_gets_the_tokens_routed_to_it(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", experts=4)
    router = weights_of(path)["blk.0.ffn_gate_inp.weight"]
    seen = {one.tensor: one for one in seen_in(path, "causal")}
    asked = seen["blk.0.ffn_gate_inp.weight"].inputs
    chosen = np.sort(np.argsort(asked @ router.T, axis=1)[:, -2:], axis=1)
    for part in ("gate", "up", "down"):
        one = seen[f"blk.0.ffn_{part}_exps.weight"]
        assert one.count == 4
        assert np.array_equal(np.sort(one.matrices.reshape(-1, 2), axis=1), chosen)
    for part in ("gate", "up"):
        inputs = seen[f"blk.0.ffn_{part}_exps.weight"].inputs
        assert np.allclose(inputs, np.repeat(asked, 2, axis=0), atol=1e-5)


def test_closing_the_model_waits_for_the_pass_in_progress(tmp_path: Path) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def watch(_seen: MatrixInput) -> None:
        inside.set()
        assert go_on.wait(10)

    model = GritLM(write_model(tmp_path / "model.gguf"), threads=1)
    observer = Observer(model, watch, attention="causal", pass_tokens=64)
    hidden: list[NDArray[np.float32]] = []
    reader = threading.Thread(target=lambda: hidden.append(observer.run(TEXTS)))
    closer = threading.Thread(target=model.close)
    reader.start()
    assert inside.wait(10)
    closer.start()
    closer.join(0.2)
    waited = closer.is_alive()
    go_on.set()
    reader.join(10)
    closer.join(10)
    assert waited
    assert len(hidden[0]) == len(FLAT)
    with pytest.raises(ClosedError):
        observer.run(TEXTS)


def test_an_error_of_the_watcher_ends_the_pass(tmp_path: Path) -> None:
    def watch(_seen: MatrixInput) -> None:
        raise ZeroDivisionError("mine")

    with (
        GritLM(write_model(tmp_path / "model.gguf"), threads=1) as model,
        Observer(model, watch, attention="causal", pass_tokens=64) as observer,
    ):
        for _ in range(2):
            with pytest.raises(ZeroDivisionError, match="mine"):
                observer.run(TEXTS)
