"""What a checkpoint says about embedding with it: GritLM's own files, or sentence-transformers'.

sentence-transformers writes modules.json: a transformer, a pooling and more, each with a folder.
gritlite computes one of its poolings, the last token's; its mean would differ without a word,
because GritLM's leaves out BOS and the prompt. The module does not know GGUF keys.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gritlite.convert.config import ModelConfig
from gritlite.convert.json_files import (
    object_in,
    read_json,
    read_json_object,
    read_optional_json_object,
    shown,
)
from gritlite.errors import ArchitectureError, FormatError
from gritlite.prompt import INSTRUCTION_FIELD, EmbedFormat

MODULES = "modules.json"
# sentence-transformers' keys before version 6, each with a flag
OLD_POOLINGS: Mapping[str, str] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
INSTRUCT = re.compile(r"(?s)(Instruct: ).*(\nQuery: ?)")  # E5's prompts, and those of its heirs


@dataclass(frozen=True)
class EmbeddingClaims:
    """How a checkpoint embeds, and whether it says that it was trained to."""

    format: EmbedFormat
    trained: bool


def read_embedding_claims(folder: Path, config: ModelConfig) -> EmbeddingClaims:
    """Read what a checkpoint's folder says; without a word it is GritLM's format, not trained.

    Raises FileError or FormatError for a damaged file, and ArchitectureError for a model
    that sentence-transformers would embed with in a way that gritlite does not compute.
    """
    path = folder / MODULES
    if not path.exists():
        return EmbeddingClaims(EmbedFormat(), "gritlm" in str(config.raw.get("auto_map")).lower())
    pooling, normalize = None, False
    for module in _modules(path):
        kind = str(module["type"]).rpartition(".")[2]
        if kind == "Pooling":
            pooling = _pooling(folder, module)
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise ArchitectureError(f"{path} lists {shown(module['type'])}, which gritlite lacks")
    if pooling != "lasttoken":
        raise ArchitectureError(
            f"{path} pools by {shown(pooling)} over all tokens, which gritlite does not: only by "
            "the last token (lasttoken), or as GritLM, by the mean without BOS and prompt"
        )
    _check_transformer(folder, config)
    prompt, instruction_prompt = _prompts(folder)
    is_causal = config.raw.get("is_causal") is not False
    attention = "causal" if is_causal else "bidirectional"
    return EmbeddingClaims(
        EmbedFormat(prompt, instruction_prompt, "last", normalize, attention),  # type: ignore[arg-type]
        trained=True,
    )


def _modules(path: Path) -> list[dict[str, Any]]:
    modules = read_json(path)
    if not isinstance(modules, list) or not all(
        isinstance(each, dict) and isinstance(each.get("type"), str) for each in modules
    ):
        raise FormatError(f"{path} is not a list of modules with their types")
    return modules


def _pooling(folder: Path, module: Mapping[str, Any]) -> Any:
    name = module.get("path")
    if not isinstance(name, str) or not re.fullmatch(r"[\w-]{1,100}", name):
        raise FormatError(f"{folder / MODULES} has the path {shown(name)} of a pooling")
    settings = read_json_object(folder / name / "config.json")
    if "pooling_mode" in settings:
        return settings["pooling_mode"]
    found = [name for key, name in OLD_POOLINGS.items() if settings.get(key)]
    return found[0] if len(found) == 1 else found


def _check_transformer(folder: Path, config: ModelConfig) -> None:
    path = folder / "sentence_bert_config.json"
    settings = read_optional_json_object(path)
    if settings.get("do_lower_case"):
        raise ArchitectureError(f"{path} writes texts in lower case, which gritlite does not")
    if "message" in object_in(path, settings, "modality_config"):
        raise ArchitectureError(
            f"{path} writes texts as messages of the chat template, which gritlite does not"
        )
    code = config.raw.get("auto_map")
    if isinstance(code, dict) and "AutoModel" in code:
        raise ArchitectureError(
            f"{folder / 'config.json'} names code of its own ({shown(code['AutoModel'])}), which "
            "gritlite does not run: its attention may differ"
        )


def _prompts(folder: Path) -> tuple[str, str]:
    """Return the prompt of texts, and the one with a place for an instruction."""
    path = folder / "config_sentence_transformers.json"
    settings = read_optional_json_object(path)
    prompts = object_in(path, settings, "prompts")
    if not all(isinstance(text, str) for text in prompts.values()):
        raise FormatError(f"{path}: prompts is {shown(prompts)}, not an object of texts")
    default = settings.get("default_prompt_name")
    if default is not None and (not isinstance(default, str) or default not in prompts):
        raise FormatError(f"{path}: default_prompt_name is {shown(default)}, not one of prompts")
    matches = [INSTRUCT.fullmatch(text) for text in prompts.values() if text]
    forms = {match[1] + INSTRUCTION_FIELD + match[2] if match else "" for match in matches}
    only = forms.pop() if len(forms) == 1 else ""
    return (prompts[default] if default is not None else ""), only or INSTRUCTION_FIELD
