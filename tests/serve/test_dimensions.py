"""Vectors of a size that the model was trained to be cut to, from every kind of server."""

import numpy as np
import pytest

from gritlite import GritLM
from tests.serve.running import serving

TEXTS = ["one", "two words"]


@pytest.fixture(scope="module")
def sized_client(sized_path):
    """A client of a server whose model may be cut to 8 and 16 of its 64 dimensions."""
    with GritLM(sized_path, threads=1) as model, serving(model) as client:
        yield client


def of_openai(body):
    return [each["embedding"] for each in body["data"]]


@pytest.mark.parametrize(
    ("path", "texts", "size", "found_at"),
    [
        (
            "/v1/embeddings",
            "input",
            "dimensions",
            lambda body: [d["embedding"] for d in body["data"]],
        ),
        ("/api/embed", "input", "dimensions", lambda body: body["embeddings"]),
        ("/v2/embed", "texts", "output_dimension", lambda body: body["embeddings"]["float"]),
    ],
)
def test_every_interface_cuts_them(sized_client, sized_model, path, texts, size, found_at):
    answered = sized_client.post(path, {texts: TEXTS, size: 8})
    assert answered.status == 200
    expected = sized_model.encode(TEXTS, dimensions=8)
    np.testing.assert_allclose(found_at(answered.json), expected, atol=1e-6)
    refused = sized_client.post(path, {texts: TEXTS, size: 9})
    assert refused.status == 400
    assert "this model was trained for 8, 16 and 64" in refused.body.decode()


def test_info_names_them(sized_client, client, served_model):
    assert sized_client.get("/info").json["dimensions"] == [8, 16, 64]
    assert client.get("/info").json["dimensions"] == [served_model.dimension]
