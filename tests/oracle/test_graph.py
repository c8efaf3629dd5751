"""The float32 graph gives the hidden states of transformers, in both modes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from gritlite.graph.embeddings import TokenEmbeddings
from gritlite.modelfile.header import read_header
from gritlite.prompt import Attention
from gritlite.runtime.onnx.embedding_pass import GraphPass
from gritlite.runtime.onnx.onnx_session import OnnxSession
from tests.graph.write_graph import write_graph
from tests.oracle.conftest import Pair
from tests.oracle.routing import hidden_and_leads

pytestmark = pytest.mark.torch

CASES = ("mistral", "mixtral", "qwen2", "qwen2-yarn", "llama-llama3", "llama-yarn", "llama-biases")
LENGTHS = (130, 1, 37)
# of the last expert taken to the first one left: both sides compute in float32
CLEAR_LEAD = 1e-4


@pytest.mark.parametrize("attention", ["bidirectional", "causal"])
@pytest.mark.parametrize("case", CASES)
def test_hidden_states(
    tiny_pair: Callable[[str], Pair], tmp_path: Path, case: str, attention: Attention
) -> None:
    pair = tiny_pair(case)
    random = np.random.default_rng(1)
    sequences = [random.integers(3, 400, length).astype(np.int32) for length in LENGTHS]
    session = OnnxSession(tmp_path, write_graph(pair.file, tmp_path), threads=1)
    opened = GraphPass(session, TokenEmbeddings(read_header(pair.file)), 512, attention, None)
    hidden, _ = opened.run(sequences, [0] * len(sequences))
    session.close()
    model = AutoModelForCausalLM.from_pretrained(
        pair.folder, dtype=torch.float32, attn_implementation="eager"
    )
    expected, leads = [], []
    for ids in sequences:
        states, lead = hidden_and_leads(model, ids.tolist(), causal=attention == "causal")
        expected.append(states.numpy())
        leads.append(lead)
    clear = np.concatenate(leads) > CLEAR_LEAD
    assert clear.mean() > 0.95
    difference = np.abs(hidden - np.concatenate(expected)).max(axis=1)
    assert difference[clear].max() < 2e-4
