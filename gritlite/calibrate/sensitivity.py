"""Tensor sensitivity: the measured loss in each task when one tensor is quantized.

One tensor at a time is rounded to a low-bit type in the loaded model, and vectors and
probabilities are compared with those of the original. The losses of other types are
extrapolated from their rounding errors, because a loss grows with the square of a small
error.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.calibrate.measures import cosines, divergence, log_softmax
from gritlite.calibrate.outputs import document_vectors, first_scored
from gritlite.calibrate.sample import Sample
from gritlite.calibrate.texts import InstructedText
from gritlite.errors import UsageError
from gritlite.modelfile.header import GGUFFile, TensorInfo
from gritlite.modelfile.tensor_data import read_into
from gritlite.quant.rows import dequantize_rows, quantize_rows
from gritlite.quant.types import block_size, needs_imatrix
from gritlite.runtime.instruments import WeightEditor
from gritlite.runtime.model import GritLM
from gritlite.runtime.scorer import Scorer
from gritlite.system.reading import open_regular

_Q = GGMLQuantizationType
_EMBED_TOKENS = 1024  # approximate total of the documents whose vectors are compared
_MEASURED_ROWS = 256  # rows of a tensor, evenly spaced, that are rounded to every type

# tried in this order: coarse enough to measure, fine enough to keep the model working
_PROBES = (_Q.Q3_K, _Q.Q4_0)
CANDIDATE_TYPES = (
    *(_Q.Q2_K, _Q.IQ3_XXS, _Q.Q3_K, _Q.IQ4_XS, _Q.Q4_K, _Q.Q5_K, _Q.Q6_K),
    *(_Q.Q4_0, _Q.Q4_1, _Q.Q5_0, _Q.Q5_1, _Q.Q8_0),
)

ImportanceByTensor = Mapping[str, NDArray[np.float32]]  # float32 [matrices, k]
_Part = tuple[NDArray[np.float32], NDArray[np.float32] | None]


@dataclass(frozen=True)
class Losses:
    """The loss in each task: 1 - cosine of the vectors, and KL divergence in nats."""

    embed: float
    generate: float


@dataclass(frozen=True)
class Sensitivity:
    """A tensor's loss in each type: 1 - cosine of the vectors, and KL divergence in nats."""

    embed: Mapping[GGMLQuantizationType, float]
    generate: Mapping[GGMLQuantizationType, float]


@dataclass(frozen=True)
class _Outputs:
    vectors: NDArray[np.float32]
    log_probabilities: NDArray[np.float64]


class SensitivityMeter:
    """Measures the tensors of an `editable` model in f32, f16 or bf16 on a sample.

    `importances` come from a calibration; types that weight columns use them.
    """

    def __init__(self, model: GritLM, sample: Sample, importances: ImportanceByTensor) -> None:
        self.file = model.file
        self.weighted_tensors = importances.keys()
        self._model = model
        self._weights = WeightEditor(model)
        self._scorer = Scorer(model)
        self._documents = _some_documents(sample)
        self._chunk = sample.chunks[0]
        self._importances = importances
        self._reference = self._outputs()

    def measure(self, tensors: Sequence[str]) -> Iterator[tuple[str, Sensitivity]]:
        """Yield each tensor's name and sensitivity. Raises UsageError for a quantized tensor."""
        for name in tensors:
            yield name, self._measure_tensor(self._info(name))

    def combined_losses(self, types: Mapping[str, GGMLQuantizationType]) -> Losses:
        """Return the losses when all of these tensors are rounded, each to its type."""
        for name, type in types.items():
            info = self._info(name)
            self._round(info, self._parts(info, _stored(self.file, info)), type)
        losses = self._losses()
        for name in types:
            self._weights.replace(name, _stored(self.file, self._info(name)))
        return losses

    def possible_types(self, info: TensorInfo) -> list[GGMLQuantizationType]:
        """Return the types that fit the tensor's row length and have importances if needed."""
        return [type for type in CANDIDATE_TYPES if self._is_possible(type, info)]

    def _info(self, name: str) -> TensorInfo:
        return next(info for info in self.file.tensors if info.name == name)

    def _measure_tensor(self, info: TensorInfo) -> Sensitivity:
        if block_size(_Q(info.type)) > 1:
            raise UsageError(
                f"{self._model.path} is quantized already ({info.name} is {info.type.name}): "
                "use its f32, f16 or bf16 weights"
            )
        types = self.possible_types(info)
        stored = _stored(self.file, info)
        parts = self._parts(info, stored)
        every = max(1, info.elements // info.shape[-1] // _MEASURED_ROWS)
        sampled = [(rows[::every], weights) for rows, weights in parts]
        errors = {type: sum(self._error(*part, type) for part in sampled) for type in types}
        probe = _probe(errors)
        if probe is None:
            return Sensitivity(dict.fromkeys(types, 0.0), dict.fromkeys(types, 0.0))
        self._round(info, parts, probe)
        losses = self._losses()
        self._weights.replace(info.name, stored)
        return Sensitivity(
            {type: losses.embed * error / errors[probe] for type, error in errors.items()},
            {type: losses.generate * error / errors[probe] for type, error in errors.items()},
        )

    def _round(self, info: TensorInfo, parts: Sequence[_Part], type: GGMLQuantizationType) -> None:
        """Replace a tensor in the model by its parts rounded to a type."""
        rounded = [self._rounded(rows, type, weights) for rows, weights in parts]
        data = quantize_rows(np.concatenate(rounded), _Q(info.type), self._model.threads)
        self._weights.replace(info.name, data)

    def _parts(self, info: TensorInfo, stored: NDArray[np.uint8]) -> list[_Part]:
        """Return a tensor's matrices and their column weights."""
        values = dequantize_rows(stored, _Q(info.type))
        matrices = values.reshape(-1, *info.shape[-2:])
        importances = self._importances.get(info.name, [None] * len(matrices))
        return list(zip(matrices, importances, strict=True))

    def _losses(self) -> Losses:
        """Return the losses of the model in its current state."""
        after = self._outputs()
        embed = float(1 - cosines(self._reference.vectors, after.vectors).mean())
        kl = divergence(self._reference.log_probabilities, after.log_probabilities)
        return Losses(embed, float(kl.mean()))

    def _rounded(
        self,
        rows: NDArray[np.float32],
        type: GGMLQuantizationType,
        weights: NDArray[np.float32] | None,
    ) -> NDArray[np.float32]:
        """Return rows quantized to `type` and dequantized."""
        return dequantize_rows(quantize_rows(rows, type, self._model.threads, weights), type)

    def _error(
        self,
        rows: NDArray[np.float32],
        weights: NDArray[np.float32] | None,
        type: GGMLQuantizationType,
    ) -> float:
        """Return the weighted sum of squared rounding errors."""
        squares = np.square(rows - self._rounded(rows, type, weights), dtype=np.float64)
        return float((squares if weights is None else squares * weights).sum())

    def _is_possible(self, type: GGMLQuantizationType, info: TensorInfo) -> bool:
        has_weights = not needs_imatrix(type) or info.name in self._importances
        return has_weights and info.shape[-1] % block_size(type) == 0

    def _outputs(self) -> _Outputs:
        logits = self._scorer.logits(self._chunk, first_scored(self._chunk))
        return _Outputs(document_vectors(self._model, self._documents), log_softmax(logits))


def _some_documents(sample: Sample) -> list[InstructedText]:
    """Return evenly spaced documents of the sample, about `_EMBED_TOKENS` in total."""
    share = min(1.0, _EMBED_TOKENS / sample.document_tokens)
    count = max(1, round(share * len(sample.documents)))
    return [sample.documents[i * len(sample.documents) // count] for i in range(count)]


def _stored(file: GGUFFile, info: TensorInfo) -> NDArray[np.uint8]:
    """Return a tensor's bytes, uint8 [rows, bytes per row]."""
    rows = info.elements // info.shape[-1]
    stored = np.empty((rows, info.size // rows), np.uint8)
    with open_regular(file.path) as opened:
        read_into(opened, info.offset, stored, info.name)
    return stored


def _probe(errors: Mapping[GGMLQuantizationType, float]) -> GGMLQuantizationType | None:
    """Return the type in which to measure a tensor, or None if no type changes it."""
    for type in _PROBES:
        if errors.get(type):
            return type
    coarsest = max(errors, key=lambda type: errors[type])
    return coarsest if errors[coarsest] else None
