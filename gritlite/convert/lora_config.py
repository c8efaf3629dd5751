"""Read the ranks and scales of a LoRA adapter from adapter_config.json.

Source: PEFT's LoraConfig (peft/tuners/lora/config.py and model.py, version 0.21).
The module does not know tensors.
"""

import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from gritlite.convert.json_files import flag_in, object_in, read_json_object, shown
from gritlite.errors import ArchitectureError, FileError, FormatError

_Number = TypeVar("_Number", int, float)

CONFIG = "adapter_config.json"
MAX_ALPHA = 1_000_000
# of a regular expression of modules: Python's can take exponential time, above all for a
# repeated group
MAX_PATTERN, MAX_REPEATS = 200, 3
REPEATED_GROUP = re.compile(r"\)[*+?{]")

# about training only: these do not change what the trained matrices mean
WITHOUT_EFFECT = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "ensure_weight_tying",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "target_modules",
        "task_type",
    }
)
READ = frozenset(
    {
        "peft_type",
        "r",
        "lora_alpha",
        "use_rslora",
        "rank_pattern",
        "alpha_pattern",
        "bias",
        "init_lora_weights",
    }
)
# the others (PiSSA, OLoRA, CorDA, LoftQ, ...) change the base's own weights
PLAIN_INITIALIZATIONS = ("true", "false", "gaussian", "eva", "orthogonal")


@dataclass(frozen=True)
class LoraConfig:
    """The ranks and scales of an adapter. Pattern keys are regular expressions of module names."""

    path: Path
    rank: int
    alpha: float
    rank_stabilized: bool
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]

    def rank_of(self, module: str) -> int:
        """Return the rank of a module's matrices."""
        return self._matching(self.rank_pattern, module, self.rank)

    def alpha_of(self, module: str) -> float:
        """Return a module's alpha: the product of its matrices is scaled by alpha / rank."""
        alpha = self._matching(self.alpha_pattern, module, self.alpha)
        # rank-stabilized LoRA (arXiv 2312.03732) divides by the rank's square root
        return alpha * math.sqrt(self.rank_of(module)) if self.rank_stabilized else alpha

    def _matching(self, patterns: Mapping[str, _Number], module: str, default: _Number) -> _Number:
        # as PEFT's get_pattern_key
        for pattern, value in patterns.items():
            _check_pattern(self.path, pattern)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)  # of a set that looks nested
                    if re.match(rf"(.*\.)?({pattern})$", module):
                        return value
            except (re.error, OverflowError, RecursionError) as error:
                raise FormatError(
                    f"{self.path}: {shown(pattern)} is not a regular expression: {error}"
                ) from error
        return default


def _check_pattern(path: Path, pattern: str) -> None:
    """Raise FormatError for a pattern whose matching could take for ever."""
    repeats = len(re.findall(r"[*+?{]", pattern))
    if len(pattern) > MAX_PATTERN or repeats > MAX_REPEATS or REPEATED_GROUP.search(pattern):
        raise FormatError(
            f"{path}: the pattern {shown(pattern)} is too complex: name the modules instead"
        )


def read_lora_config(folder: Path) -> LoraConfig:
    """Read the config of an adapter folder.

    Raises FileError if there is none, FormatError if it is malformed, and
    ArchitectureError, naming the field, for an adapter that is not plain low-rank
    matrices on linear layers.
    """
    path = folder / CONFIG
    if not path.exists():
        raise FileError(f"{folder} has no {CONFIG}: name the folder of a PEFT adapter")
    raw = read_json_object(path)
    _refuse_others(path, raw)
    return LoraConfig(
        path=path,
        rank=_rank(path, "r", raw.get("r")),
        alpha=_alpha(path, "lora_alpha", raw.get("lora_alpha")),
        rank_stabilized=flag_in(path, raw, "use_rslora"),
        rank_pattern=_pattern(path, raw, "rank_pattern", _rank),
        alpha_pattern=_pattern(path, raw, "alpha_pattern", _alpha),
    )


def _refuse_others(path: Path, raw: Mapping[str, Any]) -> None:
    if raw.get("peft_type") != "LORA":
        raise ArchitectureError(
            f"{path}: peft_type is {shown(raw.get('peft_type'))}: only LORA can be merged"
        )
    plain = {"bias": raw.get("bias", "none") == "none"}
    initialization = str(raw.get("init_lora_weights", True)).lower()
    plain["init_lora_weights"] = initialization in PLAIN_INITIALIZATIONS
    plain |= {key: not raw[key] for key in raw.keys() - READ - WITHOUT_EFFECT}
    for key, is_plain in plain.items():
        if not is_plain:
            raise ArchitectureError(
                f"{path}: {shown(key)[1:-1]} is {shown(raw[key])}: only plain low-rank matrices "
                "on linear layers can be merged; merge the adapter with PEFT, or train it without "
                "this option"
            )


def _pattern(
    path: Path, raw: Mapping[str, Any], key: str, check: Callable[[Path, str, Any], _Number]
) -> Mapping[str, _Number]:
    return MappingProxyType(
        {
            module: check(path, f"{key} of {shown(module)}", value)
            for module, value in object_in(path, raw, key).items()
        }
    )


def _rank(path: Path, key: str, value: Any) -> int:
    # type() and not isinstance(): True is an int
    if type(value) is not int or not 1 <= value < 2**31:
        raise FormatError(f"{path}: {key} is {shown(value)}, not a positive whole number")
    return value


def _alpha(path: Path, key: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value <= MAX_ALPHA:
        raise FormatError(
            f"{path}: {key} is {shown(value)}, not a positive number of at most {MAX_ALPHA:,}"
        )
    return float(value)
