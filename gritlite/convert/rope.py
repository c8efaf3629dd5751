"""Read and check the parameters of rotary position embedding (RoPE) from a config.

transformers 5 writes `rope_parameters`; older checkpoints have `rope_theta` and
`rope_scaling`. Source of the scalings: transformers' modeling_rope_utils.py.
The module does not know GGUF keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gritlite.convert.json_files import shown
from gritlite.errors import ArchitectureError

# a frequency computed from numbers of this size is a float32 too
MIN_NUMBER, MAX_NUMBER = 1e-6, 1e15
KINDS = ("default", "linear", "llama3", "yarn")


@dataclass(frozen=True)
class Rope:
    """One model's rotary embedding.

    `kind` is one of KINDS; `factor` and `original_context` are 1 and 0 if the kind has
    none. `low` and `high` are llama3's frequency factors. The other fields are yarn's,
    None for the default.
    """

    theta: float
    kind: str = "default"
    factor: float = 1.0
    original_context: int = 0
    low: float = 1.0
    high: float = 4.0
    beta_fast: float | None = None
    beta_slow: float | None = None
    attention_factor: float | None = None

    def frequency_factors(self, head_dim: int) -> NDArray[np.float32] | None:
        """Return the divisors of the frequencies, float32 [head_dim / 2]; None if all are 1.

        Source: _compute_llama3_parameters in modeling_rope_utils.py.
        """
        if self.kind != "llama3":
            return None
        exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
        frequencies = np.float32(1.0) / np.float32(self.theta) ** exponents
        wavelengths = 2 * np.pi / frequencies
        smooth = (self.original_context / wavelengths - self.low) / (self.high - self.low)
        with np.errstate(divide="ignore"):  # beside the range between the two, which is selected
            between = 1 / ((1 - smooth) / self.factor + smooth)
        is_short = wavelengths < self.original_context / self.high
        is_long = wavelengths > self.original_context / self.low
        factors = np.where(is_short, 1.0, np.where(is_long, self.factor, between))
        return factors.astype(np.float32)


def read_rope(config: Mapping[str, Any], default_theta: float, context: int) -> Rope:
    """Read the rotary embedding from a parsed config.json.

    Raises ArchitectureError for a kind that llama.cpp does not compute the same way, or
    for a parameter that is missing or not a positive number.
    """
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(scaling, dict):
        raise ArchitectureError(
            f"config.json: the rope parameters are {shown(scaling)}, not an object"
        )
    parameters = {"rope_theta": config.get("rope_theta", default_theta), **scaling}
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind not in KINDS:
        raise ArchitectureError(
            f"config.json: rope scaling {shown(kind)} is not supported; use one of "
            f"{', '.join(KINDS)}"
        )
    if parameters.get("partial_rotary_factor", config.get("partial_rotary_factor", 1)) != 1:
        raise ArchitectureError("config.json: partial_rotary_factor other than 1 is not supported")
    theta = _number(parameters, "rope_theta")
    match kind:
        case "linear":
            return Rope(theta, kind, _factor(parameters))
        case "llama3":
            return _llama3(parameters, theta)
        case "yarn":
            return _yarn(parameters, theta, config, context)
        case _:
            return Rope(theta)


def _llama3(parameters: Mapping[str, Any], theta: float) -> Rope:
    rope = Rope(
        theta,
        "llama3",
        _factor(parameters),
        _context(parameters),
        low=_number(parameters, "low_freq_factor"),
        high=_number(parameters, "high_freq_factor"),
    )
    if rope.low >= rope.high:
        raise ArchitectureError("config.json: low_freq_factor is not below high_freq_factor")
    return rope


def _yarn(
    parameters: Mapping[str, Any], theta: float, config: Mapping[str, Any], context: int
) -> Rope:
    if parameters.get("truncate", True) is not True:
        raise ArchitectureError("config.json: yarn without truncate is not supported")
    if parameters.get("mscale") or parameters.get("mscale_all_dim"):
        raise ArchitectureError("config.json: yarn with mscale is not supported")
    key = "original_max_position_embeddings"
    original = {key: parameters.get(key) or config.get(key) or context}
    return Rope(
        theta,
        "yarn",
        _factor(parameters),
        _context(original),
        beta_fast=_number_if_there(parameters, "beta_fast"),
        beta_slow=_number_if_there(parameters, "beta_slow"),
        attention_factor=_number_if_there(parameters, "attention_factor"),
    )


def _factor(parameters: Mapping[str, Any]) -> float:
    factor = _number(parameters, "factor")
    if factor < 1:
        raise ArchitectureError(f"config.json: the rope parameter factor is {factor}, below 1")
    return factor


def _context(parameters: Mapping[str, Any]) -> int:
    key = "original_max_position_embeddings"
    value = _number(parameters, key)
    if value >= 2**31 or value != int(value):
        raise ArchitectureError(
            f"config.json: the rope parameter {key} is {value}, not a number of tokens"
        )
    return int(value)


def _number(parameters: Mapping[str, Any], key: str) -> float:
    value = parameters.get(key)
    # type() and not isinstance(): True is an int
    if type(value) not in (int, float) or not MIN_NUMBER <= value <= MAX_NUMBER:  # type: ignore[operator]
        raise ArchitectureError(
            f"config.json: the rope parameter {key} is {shown(value)}, not a number from "
            f"{MIN_NUMBER:g} to {MAX_NUMBER:g}"
        )
    return float(value)  # type: ignore[arg-type]


def _number_if_there(parameters: Mapping[str, Any], key: str) -> float | None:
    return None if parameters.get(key) is None else _number(parameters, key)
