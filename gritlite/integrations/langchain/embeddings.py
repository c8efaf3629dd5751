"""LangChain's `Embeddings`, for its vector stores and retrievers."""

import threading
from functools import partial
from pathlib import Path

from langchain_core.embeddings import Embeddings

from gritlite.integrations.shared_models import shared_model
from gritlite.integrations.waiting import awaited
from gritlite.prompt import QUERY_INSTRUCTION
from gritlite.runtime.any_model import AnyModel


class GritLMEmbeddings(Embeddings):  # type: ignore[misc]
    """Embeds with `model`, a `GritLM` or a model's name.

    Documents are embedded with the file's document prompt. `query_instruction` says in plain
    words what queries are embedded for; without any they are embedded as documents are.
    Vectors have unit length. Raises as `GritLM`, and in use as its `encode`: a text that does
    not fit one pass is an error. A cancelled task ends its work within one pass.
    """

    def __init__(
        self,
        model: AnyModel | str | Path = "default",
        *,
        query_instruction: str = QUERY_INSTRUCTION,
    ) -> None:
        self.model = shared_model(model)
        self.query_instruction = query_instruction

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents: one vector each."""
        return self._vectors(texts, "")

    def embed_query(self, text: str) -> list[float]:
        """Embed a query."""
        return self._vectors([text], self.query_instruction)[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents` in a thread."""
        return await awaited(partial(self._vectors, texts, ""))

    async def aembed_query(self, text: str) -> list[float]:
        """`embed_query` in a thread."""
        return (await awaited(partial(self._vectors, [text], self.query_instruction)))[0]

    def _vectors(
        self, texts: list[str], words: str, cancel: threading.Event | None = None
    ) -> list[list[float]]:
        prompt = self.model.format.with_instruction(words)
        vectors: list[list[float]] = self.model.encode(
            texts, instruction=prompt, max_length=None, cancel=cancel
        ).tolist()
        return vectors
