"""mteb's encoder for OpenAI's interface, in a task on local data.

It counts tokens of OpenAI's vocabulary, which tiktoken would fetch; here a token is a byte.
"""

import datasets
import mteb
import numpy as np
import openai
import pytest
import tiktoken
from mteb.models.model_implementations.openai_models import OpenAIModel

from gritlite import GritLM
from tests.clients.running_server import NAME, gritlite_serve

pytestmark = pytest.mark.filterwarnings("ignore:The task .* is superseded")
FIRSTS = ["Snow fell on the harbour.", "The baker sells bread.", "A cat sleeps.", "Rain falls."]
SECONDS = ["The harbour is white.", "Bread is sold.", "Ships sail.", "The sun shines."]
GRADES = [4.0, 5.0, 0.5, 1.0]


class Bytes:
    """An encoding without a vocabulary."""

    def encode(self, text):
        return list(text.encode())


def score(encoder):
    """What mteb finds for an encoder in four pairs of texts."""
    task = mteb.get_task("STSBenchmark")
    rows = {"sentence1": FIRSTS, "sentence2": SECONDS, "score": GRADES}
    task.dataset = {"test": datasets.Dataset.from_dict(rows)}
    task.data_loaded = True
    result = mteb.evaluate(encoder, task, cache=None, show_progress_bar=False)
    return result.task_results[0].scores["test"][0]


def test_a_task_scores_as_by_encode(tiny_path, monkeypatch):
    monkeypatch.setattr(tiktoken, "get_encoding", lambda _: Bytes())
    with (
        GritLM(tiny_path, threads=1, engine="llama") as model,
        gritlite_serve(tiny_path) as server,
        openai.OpenAI(base_url=server.openai, api_key=server.key) as client,
    ):
        remote = OpenAIModel(NAME, max_tokens=8191, embed_dim=model.dimension, client=client)
        found = score(remote)
        firsts, seconds = model.encode(FIRSTS), model.encode(SECONDS)
    cosines = (firsts * seconds).sum(axis=1)
    expected = np.corrcoef(cosines, GRADES)[0, 1]  # Pearson's coefficient
    assert found["cosine_pearson"] == pytest.approx(expected, abs=1e-6)
