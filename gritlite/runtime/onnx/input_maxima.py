"""Measures the largest inputs of each layer matrix, for smoothing.

Texts that come with gritlite run through llama.cpp in both modes. The module does not know
how graphs are written.
"""

import threading
from collections.abc import Callable, Sequence

import numpy as np

from gritlite.errors import CancelledError, FormatError, UsageError
from gritlite.graph.network import network_of
from gritlite.graph.tensors import Floats
from gritlite.modelfile.header import GGUFFile
from gritlite.prompt import Attention, EmbedFormat, end_tokens
from gritlite.runtime import probe
from gritlite.runtime.engine import Tokens
from gritlite.runtime.llama import LlamaEngine, MatrixInput
from gritlite.runtime.packing import pack
from gritlite.runtime.sample_texts import calibration_chats, calibration_prose, paragraphs
from gritlite.runtime.template import ChatTemplate
from gritlite.runtime.tokens import Tokenizer
from gritlite.system.progress import ProgressCallback, no_progress

_PASS_TOKENS = 512
_READ = 3  # one in so many sample texts is read: more change nothing

Watch = Callable[[MatrixInput], None]
Pass = tuple[Attention, list[Tokens]]


def measure_inputs(
    file: GGUFFile,
    *,
    threads: int,
    progress: ProgressCallback = no_progress,
    cancel: threading.Event | None = None,
) -> dict[str, Floats]:
    """Run the sample texts through a file in llama.cpp, bidirectionally and causally.

    Returns the largest magnitude of each input column of the layers' matrices by the tensor's
    name without ".weight": float32 [k], or [experts, k] for a stack. `progress` counts
    tokens; `cancel` ends the work between two passes.

    Raises CancelledError, the errors of loading a file, and ArchitectureError for layers that
    no graph is written for.
    """
    network_of(file)
    engine = LlamaEngine(
        file.path,
        threads=threads,
        gpu_layers=0,
        repack=probe.ensure_safe().repack,
        end_tokens=end_tokens(file.metadata),
    )
    columns = Columns()
    try:
        _run(engine, _passes(engine, file), columns.add, progress, cancel)
    finally:
        engine.close()
    return columns.found()


def _run(
    engine: LlamaEngine,
    passes: Sequence[Pass],
    watch: Watch,
    progress: ProgressCallback,
    cancel: threading.Event | None,
) -> None:
    """Run passes, and report the tokens read."""
    total, done = sum(len(ids) for _, sequences in passes for ids in sequences), 0
    modes: tuple[Attention, ...] = ("bidirectional", "causal")
    for attention in modes:
        opened = engine.open_pass(_PASS_TOKENS, attention, watch)
        try:
            for sequences in (each for mode, each in passes if mode == attention):
                if cancel is not None and cancel.is_set():
                    raise CancelledError("measuring the model's inputs was cancelled")
                opened.run(sequences, [0] * len(sequences))
                done += sum(map(len, sequences))
                progress(done, total)
        finally:
            opened.close()


class Columns:
    """The largest magnitude of each column, by tensor."""

    def __init__(self) -> None:
        self._largest: dict[str, Floats] = {}

    def add(self, seen: MatrixInput) -> None:
        """Take in the inputs of a product."""
        name = seen.tensor.removesuffix(".weight")
        if seen.count == 1:
            largest = _magnitudes(seen.inputs, 0)
        else:
            largest = np.zeros((seen.count, seen.inputs.shape[1]), np.float32)
            for expert in np.unique(seen.matrices):
                largest[expert] = _magnitudes(seen.inputs[seen.matrices == expert], 0)
        known = self._largest.get(name)
        self._largest[name] = largest if known is None else np.maximum(known, largest)

    def found(self) -> dict[str, Floats]:
        """The maxima by tensor; an expert that no text reached has those of all others."""
        return {
            name: np.where(each.any(axis=-1, keepdims=True), each, each.max(axis=0))
            for name, each in self._largest.items()
        }


def _magnitudes(values: Floats, axis: int) -> Floats:
    largest: Floats = np.maximum(values.max(axis), -values.min(axis))
    return largest


def _passes(engine: LlamaEngine, file: GGUFFile) -> list[Pass]:
    """Return the passes over the sample texts in both modes."""
    tokenizer = Tokenizer(engine.vocabulary)
    prompt = tokenizer.prompt(EmbedFormat.from_metadata(file.metadata).prompt)
    prose = paragraphs(calibration_prose())[::_READ]
    embedded = [tokenizer.text(prompt, text).ids for text in prose]
    bos = np.array([engine.vocabulary.bos] if engine.vocabulary.adds_bos else [], np.int32)
    stream = tokenizer.plain("\n\n".join(prose))
    size = _PASS_TOKENS - len(bos)
    read = [
        np.concatenate([bos, stream[start : start + size]]) for start in range(0, len(stream), size)
    ]
    read += _chats(tokenizer, file)
    modes: tuple[tuple[Attention, list[Tokens]], ...] = (
        ("bidirectional", embedded),
        ("causal", read),
    )
    limit = min(_PASS_TOKENS, engine.trained_context)
    return [
        (attention, [sequences[i][:limit] for i in indices])
        for attention, sequences in modes
        for indices in pack([len(ids) for ids in sequences], _PASS_TOKENS, engine.max_sequences)
    ]


def _chats(tokenizer: Tokenizer, file: GGUFFile) -> list[Tokens]:
    """Return sample chats in the file's own format; none if its template takes none of them."""
    source = file.metadata.get("tokenizer.chat_template")
    try:
        template = ChatTemplate(tokenizer, str(source) if source is not None else None)
        rendered = [template.render(messages) for messages in calibration_chats()[::_READ]]
    except (FormatError, UsageError):
        return []
    return [np.array(template.tokenize(each), np.int32) for each in rendered]
