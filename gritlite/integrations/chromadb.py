"""chromadb's embedding function (chromadb 1; docs.trychroma.com, "Embedding Functions").

    from gritlite.integrations.chromadb import GritLMEmbeddingFunction

    client.create_collection("notes", embedding_function=GritLMEmbeddingFunction("default"))

Documents are embedded with the file's document prompt and queries behind an instruction. A
collection remembers the model and the instruction, so it opens without being given them again
once this module is imported. Needs the extra `chromadb`.
"""

from pathlib import Path
from typing import Any

from gritlite.errors import MissingExtraError, UsageError
from gritlite.integrations.shared_models import shared_model
from gritlite.prompt import QUERY_INSTRUCTION
from gritlite.runtime.any_model import AnyModel
from gritlite.runtime.embed import Vectors

try:
    from chromadb import Documents, EmbeddingFunction
    from chromadb.utils.embedding_functions import register_embedding_function
except ImportError as error:
    raise MissingExtraError("chromadb", "chromadb", "gritlite.integrations.chromadb") from error


@register_embedding_function
class GritLMEmbeddingFunction(EmbeddingFunction):  # type: ignore[misc]
    """Embeds a collection's documents and queries with `model`, a `GritLM` or a model's name.

    `query_instruction` says in plain words what queries are embedded for; without any they
    are embedded as documents are. A collection keeps the model's name or path; settings of a
    `GritLM`, such as its threads, are not kept. Raises as `GritLM`, and in use as its `encode`:
    a text that does not fit one pass is an error.
    """

    def __init__(
        self,
        model: AnyModel | str | Path = "default",
        *,
        query_instruction: str = QUERY_INSTRUCTION,
    ) -> None:
        self.model = shared_model(model)
        self.query_instruction = query_instruction
        self._name = str(self.model.path.absolute() if isinstance(model, AnyModel) else model)

    def __call__(self, input: Documents) -> list[Vectors]:
        """Embed documents: float32 [dimension] each, of unit length."""
        return list(self.model.encode(list(input), max_length=None))

    def embed_query(self, input: Documents) -> list[Vectors]:
        """Embed queries: float32 [dimension] each, of unit length."""
        prompt = self.model.format.with_instruction(self.query_instruction)
        return list(self.model.encode(list(input), instruction=prompt, max_length=None))

    @staticmethod
    def name() -> str:
        """What a collection calls this function."""
        return "gritlite"

    def default_space(self) -> str:
        """The distance that a collection uses unless told otherwise."""
        return "cosine"

    def get_config(self) -> dict[str, Any]:
        """What a collection keeps; the fingerprint tells the model's file from others."""
        return {
            "model": self._name,
            "query_instruction": self.query_instruction,
            "fingerprint": self.model.fingerprint,
        }

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "GritLMEmbeddingFunction":
        """The function that `get_config` describes.

        Raises UsageError if the file is not the one that the collection was made with, which
        chromadb turns into a ValueError with its text.
        """
        made = GritLMEmbeddingFunction(
            config["model"], query_instruction=config["query_instruction"]
        )
        made.validate_config_update(config, made.get_config())
        return made

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raise UsageError for another model: its vectors and those stored do not compare."""
        if old_config["fingerprint"] != new_config["fingerprint"]:
            raise UsageError(
                f"{new_config['model']} is not the file that the collection was embedded with "
                f"({old_config['model']}): embed the documents again in a new collection"
            )
