"""LlamaIndex's interfaces over a GritLM model (llama-index-core 0.14): embeddings and LLM.

    from gritlite.integrations.llama_index import GritLMEmbedding, GritLMLLM

    Settings.embed_model = GritLMEmbedding(model="default")
    Settings.llm = GritLMLLM(model="default", temperature=0)

Both take a `GritLM` or a model's name, and share one loaded model. Needs the extra
`llama-index`.
"""

from gritlite.errors import MissingExtraError

try:
    import llama_index.core  # noqa: F401
except ImportError as error:
    raise MissingExtraError(
        "llama-index-core", "llama-index", "gritlite.integrations.llama_index"
    ) from error

from gritlite.integrations.llama_index.embedding import GritLMEmbedding
from gritlite.integrations.llama_index.llm import GritLMLLM

__all__ = ["GritLMEmbedding", "GritLMLLM"]
