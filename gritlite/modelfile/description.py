"""Describe a GGUF model from its header alone, as `gritlite inspect` shows it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gritlite.modelfile.check_vocabulary import SPECIAL_TOKENS
from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.hyperparameters import TOKENS_KEY, embeds_only, read_hyperparameters
from gritlite.modelfile.memory import PASS_TOKENS, MemoryNeed, embed_memory, generate_memory
from gritlite.modelfile.types import FILE_TYPES
from gritlite.prompt import EmbedFormat, can_generate, is_grit, is_trained_to_embed, sliding_window

USUAL_CONTEXT = 4096


@dataclass(frozen=True)
class TypeShare:
    """How many tensors, parameters and bytes of a file have one tensor type."""

    type: str
    tensors: int
    parameters: int
    bytes: int


@dataclass(frozen=True)
class TokenizerDescription:
    """A tokenizer. `special` maps a role ("bos") to the token's id and text."""

    model: str | None
    pre: str | None
    vocabulary: int
    special: Mapping[str, tuple[int, str]]
    chat_template: bool


@dataclass(frozen=True)
class ModelDescription:
    """A model file. `grit` is None without GRIT metadata: GritLM's prompts apply then.

    `embeds_only` says whether it was written for embedding in other programs too, which
    then cannot generate from it. `trained_to_embed` is False where the file does not say, and
    `generates` only where it lacks an output matrix.

    `memory_generate` maps a context length in tokens to the memory needed to generate in it.
    """

    path: Path
    file_bytes: int
    architecture: str
    name: str | None
    parameters: int
    file_type: str | None
    bits_per_weight: float
    tensor_types: tuple[TypeShare, ...]
    layers: int
    dimensions: int
    context_length: int
    sliding_window: int | None
    tokenizer: TokenizerDescription
    grit: EmbedFormat | None
    embeds_only: bool
    trained_to_embed: bool
    generates: bool
    pass_tokens: int
    memory_embed: MemoryNeed
    memory_generate: Mapping[int, MemoryNeed]


def describe(file: GGUFFile) -> ModelDescription:
    """Describe a model file, without checking that it can be used (see `check_model`).

    Raises ArchitectureError or FormatError if its dimensions or its GRIT metadata
    cannot be read.
    """
    model = read_hyperparameters(file)
    parameters = sum(tensor.elements for tensor in file.tensors)
    tensor_bytes = sum(tensor.size for tensor in file.tensors)
    contexts = sorted({min(USUAL_CONTEXT, model.context_length), model.context_length})
    pass_tokens = min(PASS_TOKENS, model.context_length)
    return ModelDescription(
        path=file.path,
        file_bytes=file.size,
        architecture=model.architecture,
        name=_text(file, "general.name"),
        parameters=parameters,
        file_type=file_type_name(file),
        bits_per_weight=tensor_bytes * 8 / parameters if parameters else 0.0,
        tensor_types=_type_shares(file),
        layers=model.layers,
        dimensions=model.width,
        context_length=model.context_length,
        sliding_window=sliding_window(file.metadata),
        tokenizer=_tokenizer(file),
        grit=EmbedFormat.from_metadata(file.metadata) if is_grit(file.metadata) else None,
        embeds_only=embeds_only(file),
        trained_to_embed=is_trained_to_embed(file.metadata),
        generates=can_generate(file.metadata),
        pass_tokens=pass_tokens,
        memory_embed=embed_memory(file, pass_tokens),
        memory_generate={length: generate_memory(file, length) for length in contexts},
    )


def file_type_name(file: GGUFFile) -> str | None:
    """Return the name of the type that a file says it has, such as "Q8_0"; None if it says none."""
    file_type = file.metadata.get("general.file_type")
    return FILE_TYPES.get(file_type) if isinstance(file_type, int) else None


def _type_shares(file: GGUFFile) -> tuple[TypeShare, ...]:
    """Return one share per tensor type, the largest first."""
    tensors: Counter[str] = Counter()
    parameters: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for tensor in file.tensors:
        name = tensor.type.name
        tensors[name] += 1
        parameters[name] += tensor.elements
        sizes[name] += tensor.size
    return tuple(
        TypeShare(name, tensors[name], parameters[name], size) for name, size in sizes.most_common()
    )


def _tokenizer(file: GGUFFile) -> TokenizerDescription:
    value = file.metadata.get(TOKENS_KEY)
    tokens = value if isinstance(value, list) else []
    special = {}
    for role in SPECIAL_TOKENS:
        number = file.metadata.get(f"tokenizer.ggml.{role}_token_id")
        if isinstance(number, int) and 0 <= number < len(tokens):
            special[role] = (number, tokens[number])
    return TokenizerDescription(
        model=_text(file, "tokenizer.ggml.model"),
        pre=_text(file, "tokenizer.ggml.pre"),
        vocabulary=len(tokens),
        special=special,
        chat_template=_text(file, "tokenizer.chat_template") is not None,
    )


def _text(file: GGUFFile, key: str) -> str | None:
    value = file.metadata.get(key)
    return value if isinstance(value, str) else None
