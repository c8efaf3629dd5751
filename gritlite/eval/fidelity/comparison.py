"""Compare files with a reference. Models are loaded one at a time.

The reference's log-probabilities are stored on disk as float16. After rounding they are
normalized again and used as the reference, which changes a divergence by about 1e-7.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from gritlite.calibrate import measures
from gritlite.calibrate.outputs import Advance, Outputs, chunk_logits, measure_outputs
from gritlite.calibrate.sample import Sample, read_sample
from gritlite.errors import UsageError
from gritlite.eval.fidelity.results import Comparison, Row
from gritlite.modelfile.description import describe
from gritlite.runtime.model import GritLM

Load = Callable[[Path], GritLM]
Scores = Callable[[GritLM], Mapping[str, float]]
Begin = Callable[[str, int], Advance]  # a file's name and its tokens; called once for each


def compare(
    reference: Path,
    candidates: Sequence[Path],
    texts: Sequence[Path],
    *,
    load: Load = GritLM,
    scores: Scores = lambda _: {},
    begin: Begin = lambda _name, _tokens: lambda _done: None,
    chunks: int | None = None,
) -> Comparison:
    """Measure files against `reference` on `texts` (see `calibrate.texts`).

    `load` opens a file; `scores` measures labelled tasks on a model; `chunks`
    limits the text that is predicted. Raises what loading and reading raise, and
    UsageError for a candidate with another vocabulary or width.
    """
    with ExitStack() as files:

        def open_file() -> IO[bytes]:
            return files.enter_context(tempfile.TemporaryFile())

        with load(reference) as model:
            sample = read_sample(model, texts, chunks)
            kept = _Kept.of(model, sample, open_file, begin(reference.name, sample.tokens))
            row = _row(model, kept.outputs, {**_SAME, "perplexity": kept.perplexity}, scores)
        rows = []
        for candidate in candidates:
            with load(candidate) as model:
                advance = begin(candidate.name, sample.tokens)
                rows.append(_candidate(model, sample, kept, advance, scores))
    predicted = sum(len(targets) for targets in kept.targets)
    return Comparison(row, tuple(rows), len(sample.documents), predicted)


_SAME = {
    **dict.fromkeys(("cosine", "cosine_p1", "cosine_min", "neighbours", "top1"), 1.0),
    **dict.fromkeys(("kl", "kl_p99"), 0.0),
}


@dataclass(frozen=True)
class _Kept:
    """The reference's outputs; of each chunk the targets and the likeliest tokens, int [n].

    Its log-probabilities, float16 [n, vocabulary], are in `files`, one a chunk, which have no
    name and vanish with the process.
    """

    outputs: Outputs
    targets: tuple[tuple[int, ...], ...]
    likeliest: tuple[NDArray[np.int64], ...]
    files: tuple[IO[bytes], ...]
    vocabulary: tuple[object, ...]
    perplexity: float

    @classmethod
    def of(
        cls, model: GritLM, sample: Sample, open_file: Callable[[], IO[bytes]], advance: Advance
    ) -> "_Kept":
        found = measure_outputs(model, sample, advance)
        all_targets, likeliest, files, losses = [], [], [], []
        for targets, logits in chunk_logits(model, sample, advance):
            log_probabilities = measures.log_softmax(logits)
            losses.append(-log_probabilities[np.arange(len(targets)), targets])
            files.append(open_file())
            np.save(files[-1], log_probabilities.astype(np.float16))
            all_targets.append(targets)
            likeliest.append(logits.argmax(axis=1))  # before rounding, which makes ties
        return cls(
            found,
            tuple(all_targets),
            tuple(likeliest),
            tuple(files),
            _vocabulary(model),
            float(np.exp(np.concatenate(losses).mean())),
        )

    def log_probabilities(self, chunk: int) -> NDArray[np.float64]:
        """Return a chunk's log-probabilities, normalised again after rounding."""
        self.files[chunk].seek(0)
        return measures.log_softmax(np.load(self.files[chunk]).astype(np.float32))


def _candidate(model: GritLM, sample: Sample, kept: _Kept, advance: Advance, scores: Scores) -> Row:
    if _vocabulary(model) != kept.vocabulary:
        raise UsageError(
            f"{model.path} has another vocabulary than the reference: only files of one model "
            "can be compared"
        )
    if model.dimension != kept.outputs.vectors.shape[1]:
        raise UsageError(
            f"{model.path} has vectors of {model.dimension} numbers, the reference of "
            f"{kept.outputs.vectors.shape[1]}: only files of one model can be compared"
        )
    found = measure_outputs(model, sample, advance)
    if len(found.embed_layers) != len(kept.outputs.embed_layers):
        raise UsageError(
            f"{model.path} has {len(found.embed_layers) - 1} layers, the reference "
            f"{len(kept.outputs.embed_layers) - 1}: only files of one model can be compared"
        )
    cosines = measures.cosines(kept.outputs.vectors, found.vectors)
    divergences, same, losses = [], [], []
    for chunk, (targets, logits) in enumerate(chunk_logits(model, sample, advance)):
        ours, theirs = measures.log_softmax(logits), kept.log_probabilities(chunk)
        divergences.append(measures.divergence(theirs, ours))
        same.append(logits.argmax(axis=1) == kept.likeliest[chunk])
        losses.append(-ours[np.arange(len(targets)), targets])
    kl = np.concatenate(divergences)
    values = {
        "cosine": float(cosines.mean()),
        "cosine_p1": float(np.percentile(cosines, 1)),
        "cosine_min": float(cosines.min()),
        "neighbours": measures.neighbour_agreement(kept.outputs.vectors, found.vectors),
        "kl": float(kl.mean()),
        "kl_p99": float(np.percentile(kl, 99)),
        "top1": float(np.concatenate(same).mean()),
        "perplexity": float(np.exp(np.concatenate(losses).mean())),
    }
    return _row(model, found, values, scores, kept.outputs)


def _row(
    model: GritLM,
    found: Outputs,
    values: Mapping[str, float],
    scores: Scores,
    reference: Outputs | None = None,
) -> Row:
    facts = describe(model.file)
    generate_memory = facts.memory_generate[min(facts.memory_generate)]
    beside = reference or found
    return Row(
        file=model.path.name,
        values={
            "bytes": facts.file_bytes,
            "bits": facts.bits_per_weight,
            **values,
            "embed_memory": facts.memory_embed.total,
            "generate_memory": generate_memory.total,
            "embed_speed": found.embed_speed,
            "generate_speed": found.generate_speed,
        },
        scores=scores(model),
        embed_layers=_layer_errors(beside.embed_layers, found.embed_layers),
        generate_layers=_layer_errors(beside.generate_layers, found.generate_layers),
    )


def _layer_errors(reference: NDArray[np.float32], found: NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(
        float(1 - measures.cosines(one, other).mean())
        for one, other in zip(reference, found, strict=True)
    )


def _vocabulary(model: GritLM) -> tuple[object, ...]:
    tokens = model.file.metadata.get("tokenizer.ggml.tokens", [])
    return tuple(tokens) if isinstance(tokens, list) else ()
