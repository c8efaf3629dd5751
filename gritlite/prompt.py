"""The GRIT prompt format, and the `grit.*` metadata keys that carry it in a file.

Source: the official repository's README (github.com/ContextualAI/gritlm) and
arXiv 2402.09906, figure 2. The module computes nothing: what becomes a token, and which tokens
are pooled, is decided in `runtime/tokens.py`, and `runtime/cutting.py` cuts vectors.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from gritlite.errors import FormatError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

USER = "<|user|>\n"
EMBED = "<|embed|>\n"

EMBED_PROMPT_KEY = "grit.embed.prompt"
INSTRUCTION_PROMPT_KEY = "grit.embed.instruction_prompt"
POOLING_KEY = "grit.embed.pooling"
NORMALIZE_KEY = "grit.embed.normalize"
ATTENTION_KEY = "grit.embed.attention"
# whether the mean counts the prompt's tokens and BOS too, as llama.cpp's own pooling does
INCLUDE_PROMPT_KEY = "grit.embed.include_prompt"
# how many of a vector's first numbers serve as a vector themselves
SIZES_KEY = "grit.embed.sizes"
# what the pooled vector is multiplied by, [dimension, dimension]: base64 of little-endian
# float16, row by row
PROJECTION_KEY = "grit.embed.projection"
INSTRUCTION_FIELD = "{instruction}"
# what queries are embedded for where another program has no place for an instruction
QUERY_INSTRUCTION = "Given a question, retrieve the passage that answers it"

# true where the model was trained to embed; a file without it may hold one that only generates
TRAINED_KEY = "grit.embed.trained"
# false where the checkpoint has no output matrix: llama.cpp would take the embeddings for it
GENERATES_KEY = "grit.generate.supported"

# the Unicode form that a tokenizer.json's normalizer asks for; llama.cpp has no key for it
NORMALIZER_KEY = "grit.tokenizer.normalizer"
# tokens that end an answer beside the EOS token, for which GGUF has one key only
END_TOKENS_KEY = "grit.generate.end_tokens"

# how many tokens a token attends to, itself included, where the model has such a window
SLIDING_WINDOW_KEY = "grit.attention.sliding_window"
NORMALIZERS = ("NFC", "NFD", "NFKC", "NFKD")

# the official sentences behind a document and its question, and behind a question and its document
QUESTION_BEHIND = "Answer the prior query while optionally using the context prior to it"
DOCUMENTS_BEHIND = "Optionally using the prior context answer the query prior to it"
BEHIND_TEXT = "\n\n"  # between the parts of a message
# how the paper's layout "doc" asks after a document (CACHE_FORMAT_DOC of the official README)
QUESTION_FIELD = "{question}"
CACHED_QUESTION = QUESTION_FIELD + BEHIND_TEXT + QUESTION_BEHIND


def instruction(text: str) -> str:
    r"""The embedding prompt for plain words, as the official `gritlm_instruction` writes it.

    `instruction("Retrieve the passage")` is `"<|user|>\nRetrieve the passage\n<|embed|>\n"`;
    an empty text gives `"<|embed|>\n"`, the prompt of documents.
    """
    return USER + text + "\n" + EMBED if text else EMBED


def check_wording(wording: str) -> None:
    """Raise UsageError for a wording that would leave the question out."""
    if QUESTION_FIELD not in wording:
        raise UsageError(
            f"the wording {wording!r} has no place for the question: add {QUESTION_FIELD}"
        )


def cached_question(question: str) -> str:
    """A user's message to which a document's key-value state has been put in front."""
    return CACHED_QUESTION.replace(QUESTION_FIELD, question)


def question_after(documents: Iterable[str], question: str) -> str:
    """A user's message that holds the documents, and the question as `cached_question` has it."""
    return BEHIND_TEXT.join((*documents, cached_question(question)))


def after_document(rendered: str, bos: str) -> str:
    r"""What follows a document as it was embedded: the rendered chat on a line of its own.

    `rendered` is the chat template's prompt for the messages, user messages as
    `cached_question` writes them, and `bos` the spelling of the BOS token if the
    document began with one, as it does where the vocabulary adds it; it is not
    said again. Behind `"<|embed|>\n{document}"` the chat format of
    GritLM gives `"\n<|user|>\n{message}\n<|assistant|>\n"`, the official layout.
    Document and rest become tokens apart: no merge crosses the border.
    """
    return "\n" + rendered.removeprefix(bos)


Attention = Literal["bidirectional", "causal"]


@dataclass(frozen=True)
class EmbedFormat:
    """How a file wants its texts embedded.

    `prompt` precedes a text without an instruction; `instruction_prompt` holds
    `{instruction}` once and precedes a text with one. `pooling` is "mean", or "last": the last
    token's vector, that of EOS where the vocabulary adds it. `include_prompt` says whether
    the mean counts the tokens of the prompt and BOS as well. `sizes` are the numbers of
    dimensions, besides all of them, that the model was trained to be cut to; `projection`,
    float32 [dimension, dimension], is what the pooled vector is multiplied by.
    """

    prompt: str = EMBED
    instruction_prompt: str = USER + INSTRUCTION_FIELD + "\n" + EMBED
    pooling: str = "mean"
    normalize: bool = True
    attention: Attention = "bidirectional"
    include_prompt: bool = False
    sizes: tuple[int, ...] = ()
    projection: "NDArray[np.float32] | None" = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.pooling not in ("mean", "last"):
            raise FormatError(f"{POOLING_KEY} is {self.pooling!r}: expected 'mean' or 'last'")
        if self.attention not in ("bidirectional", "causal"):
            raise FormatError(
                f"{ATTENTION_KEY} is {self.attention!r}: expected 'bidirectional' or 'causal'"
            )
        if self.instruction_prompt.count(INSTRUCTION_FIELD) != 1:
            raise FormatError(
                f"{INSTRUCTION_PROMPT_KEY} must hold {INSTRUCTION_FIELD} exactly once"
            )
        if any(size < 1 for size in self.sizes):
            raise FormatError(f"{SIZES_KEY} holds {min(self.sizes)}: expected 1 or more")

    def with_instruction(self, text: str) -> str:
        """The prompt for plain instruction words; the document prompt when there are none."""
        return self.instruction_prompt.replace(INSTRUCTION_FIELD, text) if text else self.prompt

    def check_dimensions(self, asked: int | None, width: int) -> None:
        """Raise UsageError for a size that the model, whose own is `width`, was not trained for."""
        if asked is None or asked == width or asked in self.sizes:
            return
        if not self.sizes:
            raise UsageError(
                f"dimensions is {asked}: this model's vectors have {width} and were not trained to "
                "be cut: leave it out"
            )
        known = ", ".join(map(str, sorted(self.sizes)))
        raise UsageError(f"dimensions is {asked}: this model was trained for {known} and {width}")

    def to_metadata(self) -> dict[str, str | bool]:
        """The `grit.*` keys of a GGUF file, without what training adds: `sizes`, `projection`."""
        included = {INCLUDE_PROMPT_KEY: True} if self.include_prompt else {}
        return {
            EMBED_PROMPT_KEY: self.prompt,
            INSTRUCTION_PROMPT_KEY: self.instruction_prompt,
            POOLING_KEY: self.pooling,
            NORMALIZE_KEY: self.normalize,
            ATTENTION_KEY: self.attention,
            **included,
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> "EmbedFormat":
        """Read the `grit.*` keys of a GGUF file; a key that is absent means GritLM's own format.

        Raises FormatError for a value of the wrong type or an unknown choice.
        """
        default = cls()
        expected: dict[str, type] = {
            EMBED_PROMPT_KEY: str,
            INSTRUCTION_PROMPT_KEY: str,
            POOLING_KEY: str,
            NORMALIZE_KEY: bool,
            ATTENTION_KEY: str,
            INCLUDE_PROMPT_KEY: bool,
        }
        for key, kind in expected.items():
            if key in metadata and not isinstance(metadata[key], kind):
                raise FormatError(f"metadata key {key} is not a {kind.__name__}")
        return cls(
            prompt=metadata.get(EMBED_PROMPT_KEY, default.prompt),
            instruction_prompt=metadata.get(INSTRUCTION_PROMPT_KEY, default.instruction_prompt),
            pooling=metadata.get(POOLING_KEY, default.pooling),
            normalize=metadata.get(NORMALIZE_KEY, default.normalize),
            attention=metadata.get(ATTENTION_KEY, default.attention),
            include_prompt=metadata.get(INCLUDE_PROMPT_KEY, default.include_prompt),
            sizes=_numbers(metadata, SIZES_KEY, "numbers"),
            projection=_projection(metadata),
        )


def sliding_window(metadata: Mapping[str, Any]) -> int | None:
    """Return a file's attention window in tokens, None where every token is attended to.

    Raises FormatError for a value that is not a positive number.
    """
    window = metadata.get(SLIDING_WINDOW_KEY)
    if window is not None and (type(window) is not int or window < 1):
        shown = repr(window) if isinstance(window, int | float | str) else "an array"
        raise FormatError(f"{SLIDING_WINDOW_KEY} is {shown}: expected a positive number")
    return window


def end_tokens(metadata: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the ids that end an answer beside the EOS token.

    Raises FormatError for a value that is not an array of token ids.
    """
    return _numbers(metadata, END_TOKENS_KEY, "token ids")


def encode_projection(projection: "NDArray[np.float32]") -> str:
    """The value of PROJECTION_KEY: a string, for llama.cpp prints an array's numbers at loading."""
    return base64.b64encode(projection.astype("<f2").tobytes()).decode("ascii")


def _projection(metadata: Mapping[str, Any]) -> "NDArray[np.float32] | None":
    text = metadata.get(PROJECTION_KEY)
    if text is None:
        return None
    import numpy as np  # where there is one, and so vectors

    width: Any = metadata.get(f"{metadata.get('general.architecture')}.embedding_length")
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)
        projection: NDArray[np.float32] = values.reshape(width, width)
    except (TypeError, ValueError) as error:
        raise FormatError(
            f"{PROJECTION_KEY} does not hold, in base64, a square matrix of float16 numbers, a "
            "row for each of the model's dimensions"
        ) from error
    if not np.isfinite(projection).all():
        raise FormatError(f"{PROJECTION_KEY} has a NaN or an infinity")
    return projection


def _numbers(metadata: Mapping[str, Any], key: str, what: str) -> tuple[int, ...]:
    numbers = metadata.get(key)
    if numbers is None:
        return ()
    kind = getattr(getattr(numbers, "dtype", None), "kind", None)
    if kind not in ("i", "u") or any(number < 0 for number in numbers.tolist()):
        raise FormatError(f"{key} is not an array of {what}")
    return tuple(numbers.tolist())


def check_normalizer(form: str | None) -> Literal["NFC", "NFD", "NFKC", "NFKD"] | None:
    """The Unicode form that texts take before they become tokens, None for as they are.

    Raises FormatError for a form that Unicode does not have.
    """
    if form is not None and form not in NORMALIZERS:
        raise FormatError(f"{NORMALIZER_KEY} is {form!r}: expected one of {NORMALIZERS}")
    return form  # type: ignore[return-value]


def is_trained_to_embed(metadata: Mapping[str, Any]) -> bool:
    """Whether a file says of its model that it was trained to embed; GritLM's own do by name.

    False means that it is not known. Raises FormatError for a value that is not a flag.
    """
    name = metadata.get("general.name")
    return _flag(metadata, TRAINED_KEY, isinstance(name, str) and "gritlm" in name.lower())


def can_generate(metadata: Mapping[str, Any]) -> bool:
    """Whether a file's model has an output matrix. Raises FormatError if it is not a flag."""
    return _flag(metadata, GENERATES_KEY, True)


def _flag(metadata: Mapping[str, Any], key: str, default: bool) -> bool:
    value = metadata.get(key, default)
    if not isinstance(value, bool):
        raise FormatError(f"{key} is {value!r}: expected true or false")
    return value


def is_grit(metadata: Mapping[str, Any]) -> bool:
    """Whether a file says of itself that it embeds."""
    return EMBED_PROMPT_KEY in metadata
