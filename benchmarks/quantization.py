"""What each type costs both tasks, without calibration, with causal passes and with both modes.

    python benchmarks/quantization.py MODEL.gguf -o DIR [--gptq FOLDER] [--texts FILE ...]

MODEL is in f16 or bf16. Matrices, files and figures stay in DIR, and what is there is not made
again. `--gptq` adds a folder that `gritlite convert MODEL --format gptq` wrote, as its Q4_0 file.
Prints a Markdown table, a row a file.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gritlite import GritLM
from gritlite.convert import convert
from gritlite.errors import GritLiteError
from gritlite.quant.calibration import Calibrator
from gritlite.quant.default_texts import COMPARISON_TEXTS, DEFAULT_TEXTS
from gritlite.quant.fidelity.comparison import compare
from gritlite.quant.fidelity.report import MEASURES, Comparison, write_json
from gritlite.quant.imatrix import write_imatrix

WEIGHED = ("q6_k", "q5_k_m", "q4_k_m", "q4_0", "iq4_xs", "q3_k_m", "q2_k")
CALIBRATIONS = {"causal": 0.0, "dual": 0.5}  # the weight of embedding
SHOWN = (
    *("bytes", "cosine", "cosine_p1", "cosine_min", "neighbours"),
    *("kl", "kl_p99", "top1", "perplexity"),
)


def main() -> None:
    """Parse the command line, make the files, compare them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--gptq", type=Path)
    parser.add_argument("--texts", type=Path, action="append", help="to compare on")
    options = parser.parse_args()
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        files = list(candidates(options.model, options.gptq, options.output))
        found = compare(options.model, files, options.texts or COMPARISON_TEXTS)
        write_json(found, options.output / "fidelity.json", force=True)
    except GritLiteError as error:
        sys.exit(f"error: {error}")
    print_table(found)


def candidates(model: Path, gptq: Path | None, output: Path) -> Iterator[Path]:
    """Every file of the table, from large to small."""
    yield made(model, output, "q8_0")
    matrices = {name: matrix(model, output, name) for name in CALIBRATIONS}
    for target in WEIGHED:
        yield made(model, output, target)
        for name, imatrix in matrices.items():
            yield made(model, output, target, name, imatrix)
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


def print_table(found: Comparison) -> None:
    """A Markdown table, a row a file."""
    measures = [measure for measure in MEASURES if measure.name in SHOWN]
    print_row(["type", "calibration", *(measure.label for measure in measures)])
    print("|---" * (len(measures) + 2) + "|")
    print_row(["reference", "", *(measure.text(found.reference) for measure in measures)])
    for row in found.candidates:
        target, calibration, _ = row.file.split(".")
        print_row([target, calibration, *(measure.text(row) for measure in measures)])


def print_row(cells: Sequence[str]) -> None:
    """One row of a Markdown table."""
    print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
