"""`gritlite convert --format onnx`: a model's layers as a folder for ONNX Runtime and optimum."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gritlite.cli.shared.notices import print_notice, print_origin
from gritlite.cli.shared.pulling import locate_or_pull

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gritlite.convert.onnx_export import Precision
    from gritlite.modelfile.header import GGUFFile

PRECISIONS = ("exact", "fast", "float32")


def convert_to_onnx(
    source: str, output: Path, precision: "Precision", *, threads: int | None, force: bool
) -> None:
    """Write the folder under progress bars, and print what was written."""
    from gritlite.cli.shared.progress import conversion_bar, progress_callback
    from gritlite.convert.gguf_copy import as_gguf
    from gritlite.convert.onnx_export import export_onnx
    from gritlite.modelfile.header import read_header
    from gritlite.system.files import check_output_folder

    check_output_folder(output, force=force)
    located = locate_or_pull(source)
    print_origin(located)
    with ExitStack() as stack:
        with conversion_bar() as on_conversion:
            copy = as_gguf(located, output, threads=threads, on_progress=on_conversion)
            file = read_header(stack.enter_context(copy))
        maxima = _measure(file, threads) if precision == "fast" else None
        with progress_callback("writing", unit="layer") as on_progress:
            report = export_onnx(
                file,
                output,
                precision,
                maxima=maxima,
                checkpoint=located if located.is_dir() else None,
                force=force,
                on_progress=on_progress,
            )
    if not report.tokenizer_files:
        print_notice(
            f"{output} has no tokenizer, which a GGUF file holds in its own way only: copy "
            "tokenizer.json and tokenizer_config.json from the checkpoint it was made from"
        )
    click.echo(f"{report.output}: {report.bytes / 2**20:.1f} MiB, {precision}")


def _measure(file: "GGUFFile", threads: int | None) -> Mapping[str, "NDArray[np.float32]"]:
    """Measure the inputs of all matrices on gritlite's own texts, with a bar."""
    from gritlite.cli.shared.progress import progress_callback
    from gritlite.runtime.onnx.input_maxima import measure_inputs
    from gritlite.system.threads import default_threads

    with progress_callback("measuring", unit="token") as progress:
        return measure_inputs(file, threads=threads or default_threads(), progress=progress)
