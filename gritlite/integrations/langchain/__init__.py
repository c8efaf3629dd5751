"""LangChain's interfaces over a GritLM model (langchain-core 1): embeddings and chats.

    from gritlite.integrations.langchain import ChatGritLM, GritLMEmbeddings

    store = InMemoryVectorStore(GritLMEmbeddings("default"))
    ChatGritLM(model="default", temperature=0).invoke("Hello!")

Both take a `GritLM` or a model's name, and share one loaded model. Needs the extra `langchain`.
"""

from gritlite.errors import MissingExtraError

try:
    import langchain_core  # noqa: F401
except ImportError as error:
    raise MissingExtraError(
        "langchain-core", "langchain", "gritlite.integrations.langchain"
    ) from error

from gritlite.integrations.langchain.chat import ChatGritLM
from gritlite.integrations.langchain.embeddings import GritLMEmbeddings

__all__ = ["ChatGritLM", "GritLMEmbeddings"]
