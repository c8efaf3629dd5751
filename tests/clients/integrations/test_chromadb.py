"""chromadb's embedding function in chromadb's own collections."""

import chromadb
import numpy as np
import pytest

from gritlite import EmptyTextError, GritLM, UsageError, instruction
from gritlite.integrations.chromadb import GritLMEmbeddingFunction
from gritlite.prompt import QUERY_INSTRUCTION

TEXTS = ["Leaves look green.", "The inn was founded in 1811.", "A ferry sails at nine."]


@pytest.fixture
def client(tmp_path):
    return chromadb.PersistentClient(tmp_path / "chroma")


def test_a_collection_embeds_documents_and_queries(client, tiny_model):
    function = GritLMEmbeddingFunction(tiny_model)
    assert np.array_equal(function(TEXTS), tiny_model.encode(TEXTS))
    collection = client.create_collection("notes", embedding_function=function)
    collection.add(ids=["a", "b", "c"], documents=TEXTS)
    stored = collection.get(include=["embeddings"])["embeddings"]
    assert np.allclose(stored, tiny_model.encode(TEXTS), atol=1e-6)  # chromadb normalizes again
    found = collection.query(query_texts=["when?"], n_results=3)
    prompt = instruction(QUERY_INSTRUCTION)
    scores = tiny_model.encode(TEXTS) @ tiny_model.encode("when?", instruction=prompt)
    assert found["distances"][0] == pytest.approx(sorted(1 - scores), abs=1e-5)  # cosine
    assert found["documents"][0][0] == TEXTS[int(scores.argmax())]


def test_the_users_instruction(tiny_model):
    own = GritLMEmbeddingFunction(tiny_model, query_instruction="Find a date")
    (found,) = own.embed_query(["when?"])
    assert found.dtype == np.float32
    expected = tiny_model.encode("when?", instruction=instruction("Find a date"))
    assert np.array_equal(found, expected)
    (none,) = GritLMEmbeddingFunction(tiny_model, query_instruction="").embed_query(["when?"])
    assert np.array_equal(none, tiny_model.encode("when?"))


def test_a_collection_opens_again_by_itself(tmp_path, tiny_path):
    made = GritLMEmbeddingFunction(tiny_path, query_instruction="Find a date")
    client = chromadb.PersistentClient(tmp_path / "chroma")
    collection = client.create_collection("notes", embedding_function=made)
    collection.add(ids=["a", "b", "c"], documents=TEXTS)
    distances = collection.query(query_texts=["when?"])["distances"]
    again = client.get_collection("notes")
    assert again.query(query_texts=["when?"])["distances"] == distances
    configured = again.configuration["embedding_function"]
    assert configured.query_instruction == "Find a date"
    assert configured.model is made.model  # one copy of the weights


def test_a_given_model_is_not_loaded_again(client, tiny_model):
    made = GritLMEmbeddingFunction(tiny_model)
    client.create_collection("notes", embedding_function=made)
    again = client.get_collection("notes").configuration["embedding_function"]
    assert again.model is tiny_model


def test_another_file_under_the_same_name_is_refused(client, tmp_path, tiny_path, tiny_file):
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_path.read_bytes())
    made = GritLMEmbeddingFunction(path)
    client.create_collection("notes", embedding_function=made)
    path.unlink()
    path.write_bytes(tiny_file("qwen2").read_bytes())
    with pytest.raises(ValueError, match="not the file that the collection was embedded with"):
        client.get_collection("notes").configuration  # noqa: B018
    with pytest.raises(UsageError, match="embed the documents again"):
        made.validate_config_update(made.get_config(), GritLMEmbeddingFunction(path).get_config())


def test_what_chromadb_asks_of_it(tiny_model):
    made = GritLMEmbeddingFunction(tiny_model)
    assert made.name() == "gritlite"
    assert made.default_space() in made.supported_spaces()
    assert not made.is_legacy()
    assert made.build_from_config(made.get_config()).get_config() == made.get_config()


def test_errors_pass_through(client, tiny_path):
    with GritLM(tiny_path, threads=1) as model:
        collection = client.create_collection(
            "notes", embedding_function=GritLMEmbeddingFunction(model)
        )
        with pytest.raises(EmptyTextError, match="text 2"):
            collection.add(ids=["a", "b"], documents=["a", ""])
