"""Quantize a model with GPTQ, to a folder that transformers and `gritlite convert` can read.

Texts are read and tokenized here; GPTQModel runs in a child process (`child`). The
passes are those of `gritlite calibrate`, in both modes, so each matrix's Hessian is
the sum over bidirectional and causal passes.
"""

import csv
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gguf.constants import GGMLQuantizationType

from gritlite.calibrate.texts import (
    Pass,
    embed_passes,
    generate_passes,
    read_texts,
    tokens_by_mode,
)
from gritlite.convert.source_loader import open_model_source
from gritlite.errors import LibraryError, MissingExtraError, UsageError
from gritlite.gptq.checkpoint_tokenizer import CheckpointTokenizer
from gritlite.prompt import EmbedFormat
from gritlite.quant.types import block_size
from gritlite.system import processes
from gritlite.system.files import atomic_folder, check_output_folder
from gritlite.system.progress import ProgressCallback, no_progress

_FLOATS = {
    GGMLQuantizationType.F32: "float32",
    GGMLQuantizationType.F16: "float16",
    GGMLQuantizationType.BF16: "bfloat16",
}
_CHILD = "gritlite.gptq.child"


@dataclass(frozen=True)
class GPTQReport:
    """What was written, and how many tokens each mode was calibrated on.

    `only_rounded` names the matrices that saw too few tokens for GPTQ.
    """

    output: Path
    embed_tokens: int
    generate_tokens: int
    only_rounded: tuple[str, ...]


def convert_to_gptq(
    source: Path,
    output: Path,
    files: Sequence[Path],
    *,
    bits: int = 4,
    group_size: int = 32,
    force: bool = False,
    on_progress: ProgressCallback = no_progress,
) -> GPTQReport:
    """Write the model `source` as the folder `output` of GPTQ weights.

    `source` is a Hugging Face checkpoint's folder or a GGUF file in f32, f16 or bf16;
    the texts of `files` are those of `gritlite calibrate`. Groups of `group_size`
    columns are symmetric and in their own order, so that at 4 bits GGUF's Q4_0 holds
    the same numbers. `on_progress` receives the layers done and in all.

    Raises MissingExtraError without the extra, UsageError for a source that is
    quantized already, what reading the source and the texts raises,
    OutputExistsError, FileError, and LibraryError with GPTQModel's reason.
    """
    for package in ("gptqmodel", "transformers"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "gptq", "GPTQ")
    check_output_folder(output, force=force)
    floats = _floats_of(source)
    passes = _passes(source, files)
    with (
        atomic_folder(output, force=force) as folder,
        tempfile.TemporaryDirectory(dir=folder.parent) as scratch,
    ):
        job = {
            "model": str(source.resolve()),
            "floats": floats,
            "passes": [asdict(each) for each in passes],
            "output": str(folder.resolve()),
            "bits": bits,
            "group_size": group_size,
        }
        _run(job, Path(scratch), on_progress)
        only_rounded = _only_rounded(folder / "quant_log.csv")
    return GPTQReport(output, *tokens_by_mode(passes), only_rounded=only_rounded)


def _floats_of(source: Path) -> str:
    """The name of the floats that a source is in.

    Refuses, before hours of work, what is damaged, not known, or has no place in a folder.
    """
    with open_model_source(source) as model:
        if model.embed_format != EmbedFormat() or model.embed_format.projection is not None:
            raise UsageError(
                f"{source} embeds with prompts, a pooling or a projection of its own, which a "
                "folder of GPTQ weights cannot say"
            )
        if not model.generates:
            raise UsageError(
                f"{source} has no output matrix, and GPTQ calibrates generation too: name a model "
                "that generates"
            )
        for tensor in model.tensors:
            if tensor.was_quantized or block_size(tensor.type) > 1:
                raise UsageError(
                    f"{source} is quantized already ({tensor.name}): take its f32, f16 or bf16 "
                    "weights"
                )
        return _FLOATS[model.token_embedding_type]


def _passes(source: Path, files: Sequence[Path]) -> list[Pass]:
    texts = read_texts(files)
    tokens = CheckpointTokenizer.of(source)
    return embed_passes(tokens, texts) + generate_passes(tokens, texts)


def _run(job: dict[str, Any], scratch: Path, on_progress: ProgressCallback) -> None:
    """Run the child in a folder for its logs and offloaded weights."""
    (scratch / "job.json").write_text(json.dumps(job), "utf-8")
    with (
        (scratch / "log").open("w+b") as log,
        processes.start(
            [*processes.module_command(_CHILD), "job.json"],
            cwd=scratch,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as child,
    ):
        assert child.stdout is not None
        try:
            for line in child.stdout:
                done, total = line.split()
                on_progress(int(done), int(total))
        except BaseException:
            child.kill()
            raise
        if child.wait() != 0:
            log.seek(0)
            said = log.read().decode("utf-8", "replace")
            raise LibraryError(f"GPTQModel failed: {_reason(said)}")


def _only_rounded(log: Path) -> tuple[str, ...]:
    """Return the matrices that GPTQModel only rounded, according to its log."""
    with log.open(encoding="utf-8", newline="") as file:
        return tuple(
            f"{row['layer']}.{row['module']}"
            for row in csv.DictReader(file)
            if row["loss"].startswith("fallback")
        )


def _reason(log: str) -> str:
    """Return the last line that is not blank."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"
