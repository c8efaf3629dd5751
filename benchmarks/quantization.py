"""The quality loss of each type in both tasks, by calibration: none, causal, both modes.

    python benchmarks/quantization.py MODEL.gguf -o DIR [--gptq FOLDER] [--auto TYPE ...]
        [--texts FILE ...] [--sts FILE ...] [--retrieval FILE ...] [--perplexity FILE ...]
        [--exact-match FILE ...] [--limit SET=N ...]

MODEL is in f16 or bf16. Matrices, files and results are stored in DIR and reused. `--gptq` adds
a folder written by `gritlite convert MODEL --format gptq`, as its Q4_0 file; `--auto` adds a file
by `gritlite quantize --type auto` of the same size as that type calibrated in both modes. Test
sets are those of `gritlite eval`; `--limit sts=200` limits the items of one (`perplexity=10`:
chunks). Prints two Markdown tables with a row per file: fidelity, and size and scores.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from gritlite import GritLM
from gritlite.calibrate.auto_types import (
    allocate_for_size,
    measure_sensitivities,
    sensitivity_meter,
)
from gritlite.calibrate.calibration import Calibrator
from gritlite.convert import convert
from gritlite.errors import GritLiteError
from gritlite.eval.encoder import Encoder, GritEncoder
from gritlite.eval.exact_match import ExactMatch
from gritlite.eval.fidelity.comparison import compare
from gritlite.eval.fidelity.results import MEASURES, Comparison, write_json
from gritlite.eval.perplexity import Perplexity
from gritlite.eval.report import check_names
from gritlite.eval.retrieval import Retrieval
from gritlite.eval.sts import STS
from gritlite.eval.task import Task
from gritlite.quant.imatrix import write_imatrix
from gritlite.runtime.sample_texts import COMPARISON_TEXTS, DEFAULT_TEXTS

WEIGHED = ("q6_k", "q5_k_m", "q4_k_m", "q4_0", "iq4_xs", "q3_k_m", "q2_k")
CALIBRATIONS = {"causal": 0.0, "dual": 0.5}  # the weight of embedding
FIDELITY = (
    *("cosine", "cosine_p1", "cosine_min", "neighbours"),
    *("kl", "kl_p99", "top1", "perplexity"),
)
COST = ("bytes", "bits", "embed_memory", "generate_memory", "embed_speed", "generate_speed")
SETS = ("sts", "retrieval", "perplexity", "exact_match")


def main() -> None:
    """Parse the command line, make the files, compare them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--gptq", type=Path)
    parser.add_argument("--auto", choices=WEIGHED, action="append", default=[])
    parser.add_argument("--texts", type=Path, action="append", help="to compare on")
    for name in SETS:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--limit", type=limit_of_set, action="append", default=[], metavar="SET=N")
    options = parser.parse_args()
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        scores = evaluation({name: getattr(options, name) for name in SETS}, dict(options.limit))
        files = list(candidates(options.model, options.gptq, options.auto, options.output))
        texts = options.texts or COMPARISON_TEXTS
        found = compare(options.model, files, texts, scores=scores, begin=announced)
        write_json(found, options.output / "fidelity.json", force=True)
    except GritLiteError as error:
        sys.exit(f"error: {error}")
    print_table(found, FIDELITY, [])
    print()
    print_table(found, COST, list(found.reference.scores))


def announced(name: str, _tokens: int) -> Callable[[int], None]:
    """Say which file is measured now."""
    print(name, file=sys.stderr)
    return lambda _done: None


def limit_of_set(text: str) -> tuple[str, int]:
    """Of `sts=200`, the set and the number of items."""
    name, _, number = text.partition("=")
    if name not in SETS or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not SET=N with a set of {', '.join(SETS)}")
    return name, int(number)


def evaluation(
    sets: Mapping[str, Sequence[Path]], limits: Mapping[str, int]
) -> Callable[[GritLM], dict[str, float]]:
    """What measures a model on the test sets; they are read now."""
    embedding: list[Task[Encoder]] = [
        *(STS(path, limit=limits.get("sts")) for path in sets["sts"]),
        *(Retrieval(path, limit=limits.get("retrieval")) for path in sets["retrieval"]),
    ]
    generation: list[Task[GritLM]] = [
        *(Perplexity(path, limit=limits.get("perplexity")) for path in sets["perplexity"]),
        *(
            ExactMatch(path, passages="prompt", limit=limits.get("exact_match"))
            for path in sets["exact_match"]
        ),
    ]
    check_names([task.name for task in embedding] + [task.name for task in generation])

    def run(model: GritLM) -> dict[str, float]:
        encoder = GritEncoder(model, truncate=True)
        scores = [score for task in embedding for score in task.run(encoder, lambda *_: None)]
        scores += [score for task in generation for score in task.run(model, lambda *_: None)]
        return {f"{score.task}: {score.measure}": score.value for score in scores}

    return run


def candidates(model: Path, gptq: Path | None, auto: Sequence[str], output: Path) -> Iterator[Path]:
    """Every file of the table, from large to small."""
    yield made(model, output, "q8_0")
    matrices = {name: matrix(model, output, name) for name in CALIBRATIONS}
    for target in WEIGHED:
        yield made(model, output, target)
        for name, imatrix in matrices.items():
            yield made(model, output, target, name, imatrix)
        if target in auto:
            yield chosen(model, output, target, matrices["dual"])
        if target == "q4_0" and gptq is not None:
            yield made(gptq, output, target, "gptq")


def made(
    source: Path, output: Path, target: str, calibration: str = "none", imatrix: Path | None = None
) -> Path:
    """A quantized file, `imatrix` used where one is given."""
    path = output / f"{target}.{calibration}.gguf"
    if not path.exists():
        print(path.name, file=sys.stderr)
        convert(source, path, target, imatrix=imatrix)
    return path


def chosen(model: Path, output: Path, target: str, imatrix: Path) -> Path:
    """A file of types chosen tensor by tensor, no larger than that of `target`."""
    path = output / f"{target}.auto.gguf"
    if not path.exists():
        print(path.name, file=sys.stderr)
        with GritLM(model, editable=True) as loaded:
            meter = sensitivity_meter(loaded, DEFAULT_TEXTS, imatrix)
            sensitivities = measure_sensitivities(meter, lambda *_: None)
            size = (output / f"{target}.dual.gguf").stat().st_size
            choice = allocate_for_size(meter, sensitivities, size, lambda *_: None)
        convert(model, path, choice.target, types=choice.types, imatrix=imatrix)
    return path


def matrix(model: Path, output: Path, name: str) -> Path:
    """An importance matrix of the texts that come with gritlite."""
    path = output / f"{name}.imatrix.gguf"
    if not path.exists():
        print(path.name, file=sys.stderr)
        with GritLM(model) as loaded:
            calibrator = Calibrator(loaded, DEFAULT_TEXTS, embed_weight=CALIBRATIONS[name])
            for _ in calibrator.run():
                pass
            write_imatrix(calibrator.result().imatrix, path)
    return path


def print_table(found: Comparison, names: Sequence[str], tasks: Sequence[str]) -> None:
    """A Markdown table, a row a file: the measures of these names, and the tasks' scores."""
    measures = [measure for measure in MEASURES if measure.name in names]
    print_row(["type", "calibration", *(measure.label for measure in measures), *tasks])
    print("|---" * (len(measures) + len(tasks) + 2) + "|")
    for row in found.rows:
        types = ["reference", ""] if row is found.reference else row.file.split(".")[:2]
        values = [measure.text(row) for measure in measures]
        print_row([*types, *values, *(f"{row.scores[task]:.4f}" for task in tasks)])


def print_row(cells: Sequence[str]) -> None:
    """One row of a Markdown table."""
    print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
