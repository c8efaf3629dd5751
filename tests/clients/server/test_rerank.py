"""Re-ranking and Cohere's embeddings by litellm, which knows their makers' addresses."""

import litellm
import numpy as np
import pytest

import gritlite
from gritlite.serve.settings import QUERY_INSTRUCTION
from tests.clients.running_server import NAME, Server
from tests.clients.server.conftest import TEXTS

pytestmark = pytest.mark.usefixtures("litellm_connections")
QUERY = "Who sells bread?"
PROMPT = gritlite.instruction(QUERY_INSTRUCTION)


@pytest.mark.parametrize(
    ("vendor", "path"),
    [("cohere", "/v1/rerank"), ("cohere", "/v2/rerank"), ("jina_ai", ""), ("hosted_vllm", "/v1")],
)
def test_documents_are_ranked(server: Server, model, vendor, path):
    found = litellm.rerank(
        f"{vendor}/{NAME}",
        QUERY,
        TEXTS,
        top_n=2,
        return_documents=True,
        api_base=server.url + path,
        api_key=server.key,
    )
    query = model.encode(QUERY, instruction=PROMPT)
    scores = model.encode(TEXTS).astype(float) @ query.astype(float)
    order = np.argsort(-scores)[:2].tolist()
    assert [each["index"] for each in found.results] == order
    told = [each["relevance_score"] for each in found.results]
    assert told == pytest.approx(scores[order].tolist(), abs=1e-7)
    assert [each["document"]["text"] for each in found.results] == [TEXTS[i] for i in order]


@pytest.mark.parametrize("vendor", ["cohere", "jina_ai"])
def test_errors(server: Server, vendor):
    with pytest.raises(litellm.NotFoundError, match="no model 'gpt-9'"):
        litellm.rerank(f"{vendor}/gpt-9", QUERY, TEXTS, api_base=server.url, api_key=server.key)


@pytest.mark.parametrize(("kind", "prompt"), [("search_query", PROMPT), ("search_document", "")])
def test_coheres_vectors(server: Server, model, kind, prompt):
    found = litellm.embedding(
        f"cohere/{NAME}",
        TEXTS,
        input_type=kind,
        api_base=f"{server.url}/v2/embed",
        api_key=server.key,
    )
    vectors = np.asarray([each["embedding"] for each in found.data], np.float32)
    np.testing.assert_array_equal(vectors, model.encode(TEXTS, instruction=prompt))
    assert found.usage.prompt_tokens == sum(model.token_counts(TEXTS, instruction=prompt))
