"""Check the numbers and choices among a GGUF model's metadata, beside its dimensions.

llama.cpp takes most of them as they are, and computes NaN or worse from wrong ones. The
bounds lie far beyond every existing model. The module does not look at tensors or tokens.
"""

import numpy as np

from gritlite.modelfile.failure import fail_architecture
from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.hyperparameters import Hyperparameters
from gritlite.modelfile.metadata_values import Value

ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
POOLINGS = range(5)  # enum llama_pooling_type
FLOAT_RANGES = {
    "attention.layer_norm_rms_epsilon": (0.0, 1.0),
    "attention.layer_norm_epsilon": (0.0, 1.0),
    "rope.freq_base": (1e-3, 1e15),
    "rope.scale_linear": (0.0, 1e6),
    "rope.scaling.factor": (0.0, 1e6),
    "rope.scaling.attn_factor": (0.0, 1e6),
}


def check_numbers(file: GGUFFile, model: Hyperparameters, *, experts_grouped: bool) -> None:
    """Raise ArchitectureError for a number out of range or of the wrong type.

    `experts_grouped` says whether the architecture may have groups of experts.
    """
    prefix = model.architecture + "."
    for key, value in file.metadata.items():
        if key.startswith(prefix):
            _check_finite(file, key, value)
    for name, (low, high) in FLOAT_RANGES.items():
        key = prefix + name
        value = file.metadata.get(key, low)
        if not isinstance(value, float):
            fail_architecture(file, f"{key} is of type {file.entries[key].type}, not f32")
        if not low <= value <= high:
            fail_architecture(file, f"{key} is {value:g}, outside {low:g} to {high:g}")
    _check_choices(file, prefix)
    _check_experts(file, model, grouped=experts_grouped)


def _check_finite(file: GGUFFile, key: str, value: Value) -> None:
    numbers = value if isinstance(value, np.ndarray) else np.array(value)
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        fail_architecture(file, f"{key} is {_shown(value)}, not finite")


def _check_choices(file: GGUFFile, prefix: str) -> None:
    scaling = file.metadata.get(f"{prefix}rope.scaling.type", "linear")
    if not isinstance(scaling, str) or scaling not in ROPE_SCALINGS:
        fail_architecture(
            file, f"{prefix}rope.scaling.type is {_shown(scaling)}, not one of {ROPE_SCALINGS}"
        )
    pooling = file.metadata.get(f"{prefix}pooling_type", 0)
    if not isinstance(pooling, int) or pooling not in POOLINGS:
        fail_architecture(
            file, f"{prefix}pooling_type is {_shown(pooling)}, which llama.cpp does not know"
        )


def _check_experts(file: GGUFFile, model: Hyperparameters, *, grouped: bool) -> None:
    if bool(model.experts) != bool(model.experts_used):
        fail_architecture(file, f"{model.experts} experts, of which {model.experts_used} are used")
    if grouped:
        return
    for name in ("expert_group_count", "expert_group_used_count", "nextn_predict_layers"):
        value = file.metadata.get(f"{model.architecture}.{name}", 0)
        if not isinstance(value, int) or value != 0:
            fail_architecture(
                file, f"{model.architecture}.{name} is {_shown(value)}, but must be 0 or absent"
            )


def _shown(value: Value) -> str:
    return "an array" if isinstance(value, list | np.ndarray) else repr(value)
