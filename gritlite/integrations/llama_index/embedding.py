"""LlamaIndex's embedding model, for its indices, retrievers and ingestion pipelines."""

import threading
from functools import partial
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import Field, PrivateAttr

from gritlite.integrations.shared_models import shared_model
from gritlite.integrations.waiting import awaited
from gritlite.prompt import QUERY_INSTRUCTION
from gritlite.runtime.any_model import AnyModel

_BATCH = 64  # texts that LlamaIndex hands over at once; its 10 fill no pass


class GritLMEmbedding(BaseEmbedding):  # type: ignore[misc]
    """Embeds with `model`, a `GritLM` or a model's name.

    Texts are embedded with the file's document prompt. `query_instruction` says in plain
    words what queries are embedded for; without any they are embedded as texts are. Vectors
    have unit length. Raises as `GritLM`, and in use as its `encode`: a text that does not fit
    one pass is an error. A cancelled task ends its work within one pass.
    """

    model: AnyModel | str | Path = Field(default="default", exclude=True)
    query_instruction: str = QUERY_INSTRUCTION
    embed_batch_size: int = Field(default=_BATCH, gt=0, le=2048)

    _loaded: AnyModel = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Load the model, or take the loaded one; its path becomes `model_name`."""
        super().model_post_init(context)
        self._loaded = shared_model(self.model)
        self.model_name = str(self._loaded.path)

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex calls this class in its records."""
        return "GritLMEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vectors([query], self.query_instruction)[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vectors([text], "")[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._vectors(texts, "")

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await awaited(partial(self._vectors, [query], self.query_instruction)))[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await awaited(partial(self._vectors, [text], "")))[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await awaited(partial(self._vectors, texts, ""))

    def _vectors(
        self, texts: list[str], words: str, cancel: threading.Event | None = None
    ) -> list[list[float]]:
        prompt = self._loaded.format.with_instruction(words)
        vectors: list[list[float]] = self._loaded.encode(
            texts, instruction=prompt, max_length=None, cancel=cancel
        ).tolist()
        return vectors
