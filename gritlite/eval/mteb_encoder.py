"""A GritLM model as an encoder of the package mteb (2.26; huggingface.co/mteb).

    import mteb
    from gritlite import GritLM
    from gritlite.eval.mteb_encoder import MTEBEncoder

    mteb.evaluate(MTEBEncoder(GritLM("model.gguf")), mteb.get_tasks(["STSBenchmark"]))

Instructions are mteb's own for each task, put through the file's format.
Documents of retrieval tasks get none unless the task has one for them, as in
the official repository's evaluation/eval_mteb.py. Needs the package mteb
(extra `eval`); nothing else of gritlite does.
"""

from typing import Any

from gritlite.errors import MissingExtraError
from gritlite.runtime.embed import Vectors
from gritlite.runtime.model import GritLM

try:
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ScoringFunction
    from mteb.types import PromptType
except ImportError as error:
    raise MissingExtraError("mteb", "eval", "an encoder for mteb") from error

MAX_LENGTH = 512  # tokens, the official package's default


class MTEBEncoder(AbsEncoder):  # type: ignore[misc]
    """`GritLM` behind mteb's EncoderProtocol.

    Texts of more than `max_length` tokens are cut, with a TruncationWarning.
    """

    def __init__(self, model: GritLM, *, max_length: int = MAX_LENGTH) -> None:
        self.model = model
        self._max_length = max_length
        self.mteb_model_meta = ModelMeta(
            loader=None,
            name=f"gritlite/{model.path.stem}",
            revision=None,
            release_date=None,
            languages=None,
            n_parameters=None,
            memory_usage_mb=None,
            max_tokens=model.max_length,
            embed_dim=model.dimension,
            license=None,
            open_weights=None,
            public_training_code=None,
            public_training_data=None,
            framework=["GritLM", "GGUF"],
            similarity_fn_name=ScoringFunction.COSINE,
            use_instructions=True,
            training_datasets=None,
        )

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **options: Any,
    ) -> Vectors:
        """Embed all texts of mteb's batches, float32 [n, dimension] of unit length."""
        del hf_split, hf_subset, options
        words = self._words(task_metadata, prompt_type)
        vectors: Vectors = self.model.encode(
            [text for batch in inputs for text in batch["text"]],
            instruction=self.model.format.with_instruction(words),
            max_length=self._max_length,
        )
        return vectors

    def _words(self, task: Any, prompt_type: PromptType | None) -> str:
        """The plain words of an instruction, or none."""
        own_words = isinstance(task.prompt, dict) and PromptType.document.value in task.prompt
        if prompt_type == PromptType.document and not own_words:
            return ""
        return str(self.get_instruction(task, prompt_type))
