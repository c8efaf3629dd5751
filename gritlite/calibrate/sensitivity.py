"""What an error in each tensor costs each task, measured: the tensor is rounded, both are run.

One tensor at a time is put into the loaded model as it would be read back from a
low-bit type, and vectors and probabilities are compared with those of the
model as it was. What other types would cost follows from their own rounding
errors, for a loss grows with the square of a small error.
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
from gritlite.modelfile.tensor_data import open_file, read_into
from gritlite.quant.rows import dequantize_rows, quantize_rows
from gritlite.quant.types import block_size, needs_imatrix
from gritlite.runtime.instruments import WeightEditor
from gritlite.runtime.model import GritLM
from gritlite.runtime.scorer import Scorer

_Q = GGMLQuantizationType
_EMBED_TOKENS = 1024  # of the documents whose vectors are compared
_MEASURED_ROWS = 256  # of a tensor, spread evenly, whose rounding is measured in every type

# the first that rounds the tensor at all: rounded enough to be seen, not enough to break the model
_PROBES = (_Q.Q3_K, _Q.Q4_0)
CANDIDATE_TYPES = (
    *(_Q.Q2_K, _Q.IQ3_XXS, _Q.Q3_K, _Q.IQ4_XS, _Q.Q4_K, _Q.Q5_K, _Q.Q6_K),
    *(_Q.Q4_0, _Q.Q4_1, _Q.Q5_0, _Q.Q5_1, _Q.Q8_0),
)

ImportanceByTensor = Mapping[str, NDArray[np.float32]]  # float32 [matrices, k] by tensor
_Part = tuple[NDArray[np.float32], NDArray[np.float32] | None]


@dataclass(frozen=True)
class Losses:
    """What is lost in each task: 1 - cosine of the vectors, and KL divergence."""

    embed: float
    generate: float


@dataclass(frozen=True)
class Sensitivity:
    """What a tensor would cost in each type: 1 - cosine of the vectors, and KL divergence."""

    embed: Mapping[GGMLQuantizationType, float]
    generate: Mapping[GGMLQuantizationType, float]


@dataclass(frozen=True)
class _Outputs:
    vectors: NDArray[np.float32]
    log_probabilities: NDArray[np.float64]


class SensitivityMeter:
    """Measures the tensors of an `editable` model in f32, f16 or bf16, on a sample.

    `importances` are those of a calibration, for types that weigh columns by them.
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
        self._before = self._outputs()

    def measure(self, tensors: Sequence[str]) -> Iterator[tuple[str, Sensitivity]]:
        """Measure tensor after tensor. Raises UsageError for one that is quantized."""
        for name in tensors:
            yield name, self._measure_tensor(self._info(name))

    def combined_losses(self, types: Mapping[str, GGMLQuantizationType]) -> Losses:
        """What it costs when all of these tensors are rounded, each to its type."""
        for name, type in types.items():
            info = self._info(name)
            self._round(info, self._parts(info, _stored(self.file, info)), type)
        losses = self._losses()
        for name in types:
            self._weights.replace(name, _stored(self.file, self._info(name)))
        return losses

    def possible_types(self, info: TensorInfo) -> list[GGMLQuantizationType]:
        """The types that a tensor can have: its rows are whole blocks, an iq type is weighed."""
        return [type for type in CANDIDATE_TYPES if self._can_be(type, info)]

    def _info(self, name: str) -> TensorInfo:
        return next(info for info in self.file.tensors if info.name == name)

    def _measure_tensor(self, info: TensorInfo) -> Sensitivity:
        if block_size(_Q(info.type)) > 1:
            raise UsageError(
                f"{self._model.path} is quantized already ({info.name} is {info.type.name}): "
                "take its f32, f16 or bf16 weights"
            )
        fitting = self.possible_types(info)
        stored = _stored(self.file, info)
        parts = self._parts(info, stored)
        every = max(1, info.elements // info.shape[-1] // _MEASURED_ROWS)
        sampled = [(rows[::every], weights) for rows, weights in parts]
        errors = {type: sum(self._error(*part, type) for part in sampled) for type in fitting}
        probe = _probe(errors)
        if probe is None:
            return Sensitivity(dict.fromkeys(fitting, 0.0), dict.fromkeys(fitting, 0.0))
        self._round(info, parts, probe)
        losses = self._losses()
        self._weights.replace(info.name, stored)
        return Sensitivity(
            {type: losses.embed * error / errors[probe] for type, error in errors.items()},
            {type: losses.generate * error / errors[probe] for type, error in errors.items()},
        )

    def _round(self, info: TensorInfo, parts: Sequence[_Part], type: GGMLQuantizationType) -> None:
        """Put a tensor of these parts into the model as it is read back from a type."""
        rounded = [self._rounded(rows, type, weights) for rows, weights in parts]
        data = quantize_rows(np.concatenate(rounded), _Q(info.type), self._model.threads)
        self._weights.replace(info.name, data)

    def _parts(self, info: TensorInfo, stored: NDArray[np.uint8]) -> list[_Part]:
        """A tensor's matrices and what their columns are weighed by."""
        values = dequantize_rows(stored, _Q(info.type))
        matrices = values.reshape(-1, *info.shape[-2:])
        importances = self._importances.get(info.name, [None] * len(matrices))
        return list(zip(matrices, importances, strict=True))

    def _losses(self) -> Losses:
        """What the model loses as it is now."""
        after = self._outputs()
        embed = float(1 - cosines(self._before.vectors, after.vectors).mean())
        kl = divergence(self._before.log_probabilities, after.log_probabilities)
        return Losses(embed, float(kl.mean()))

    def _rounded(
        self,
        rows: NDArray[np.float32],
        type: GGMLQuantizationType,
        weights: NDArray[np.float32] | None,
    ) -> NDArray[np.float32]:
        """Rows as they are read back from `type`."""
        return dequantize_rows(quantize_rows(rows, type, self._model.threads, weights), type)

    def _error(
        self,
        rows: NDArray[np.float32],
        weights: NDArray[np.float32] | None,
        type: GGMLQuantizationType,
    ) -> float:
        """The weighted sum of squared rounding errors."""
        squares = np.square(rows - self._rounded(rows, type, weights), dtype=np.float64)
        return float((squares if weights is None else squares * weights).sum())

    def _can_be(self, type: GGMLQuantizationType, info: TensorInfo) -> bool:
        is_weighed = not needs_imatrix(type) or info.name in self._importances
        return is_weighed and info.shape[-1] % block_size(type) == 0

    def _outputs(self) -> _Outputs:
        logits = self._scorer.logits(self._chunk, first_scored(self._chunk))
        return _Outputs(document_vectors(self._model, self._documents), log_softmax(logits))


def _some_documents(sample: Sample) -> list[InstructedText]:
    """Documents of about `_EMBED_TOKENS` together, spread evenly over the sample."""
    share = min(1.0, _EMBED_TOKENS / sample.document_tokens)
    count = max(1, round(share * len(sample.documents)))
    return [sample.documents[i * len(sample.documents) // count] for i in range(count)]


def _stored(file: GGUFFile, info: TensorInfo) -> NDArray[np.uint8]:
    """A tensor's bytes, [rows, bytes a row]."""
    rows = info.elements // info.shape[-1]
    stored = np.empty((rows, info.size // rows), np.uint8)
    with open_file(file.path) as opened:
        read_into(opened, info.offset, stored, info.name)
    return stored


def _probe(errors: Mapping[GGMLQuantizationType, float]) -> GGMLQuantizationType | None:
    """The type to try a tensor out in: it has to round something. None if no type does."""
    for type in _PROBES:
        if errors.get(type):
            return type
    coarsest = max(errors, key=lambda type: errors[type])
    return coarsest if errors[coarsest] else None
