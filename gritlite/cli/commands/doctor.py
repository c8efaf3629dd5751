"""`gritlite doctor`: a report on this machine, its llama.cpp build and a model."""

import json
from typing import TYPE_CHECKING

import click

from gritlite.cli.shared.options import complete_model
from gritlite.cli.shared.tables import MEMORY_NOTE, aligned, size

if TYPE_CHECKING:
    from gritlite.cli.commands.doctor_diagnostics import Diagnostics, Library, Machine


@click.command()
@click.argument("model", required=False, shell_complete=complete_model)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, sizes in bytes.")
def command(model: str | None, as_json: bool) -> None:
    """Show what this machine and its llama.cpp build can do.

    llama.cpp is tried in a child process, so a build that crashes here does no harm.
    With MODEL, a path or the name of a pulled model, the report also shows which uses
    of the model fit in memory, and a model with parts that gritlite cannot check is
    tried in a child process too. Where engines have been compared on this machine, it shows
    which one embeds with the model, or else with the default model. Exits with 1 if
    llama.cpp cannot run.
    """
    from gritlite.cli.commands.doctor_diagnostics import diagnose
    from gritlite.errors import LibraryError
    from gritlite.modelfile.check import check_model
    from gritlite.modelfile.header import read_header
    from gritlite.runtime.model_probe import check_verdict
    from gritlite.system.locate import locate

    file = None
    if model is not None:
        file = read_header(locate(model))
        check_model(file)
    found = diagnose(file)
    click.echo(_as_json(found) if as_json else aligned(_rows(found)))
    if not found.library.runs:
        raise LibraryError(found.library.problem)
    if file is not None and found.trial is not None:
        check_verdict(file, found.trial)


def _as_json(found: "Diagnostics") -> str:
    from dataclasses import asdict

    return json.dumps(asdict(found), indent=2, default=str)


def _rows(found: "Diagnostics") -> list[tuple[str, str]]:
    from gritlite.cli.commands.doctor_extras import describe

    rows = [*_machine_rows(found.machine), *_library_rows(found.library)]
    rows.append(("cache", str(found.cache_folder)))
    rows += [(f"model {name}", str(path)) for name, path in found.pulled_models.items()]
    rows += [(f"extra {extra}", describe(extra, found.extras[extra])) for extra in found.extras]
    rows += _engine_rows(found)
    words = {True: "fits", False: "does not fit", None: "available memory unknown"}
    rows += [(fit.use, f"{size(fit.need.total)}: {words[fit.fits]}") for fit in found.fits]
    if found.fits:
        rows.append(MEMORY_NOTE)
    if found.trial is not None:
        rows.append(("model probe", str(found.trial)))
    return rows


def _engine_rows(found: "Diagnostics") -> list[tuple[str, str]]:
    from gritlite.cli.shared.verdicts import engine_rows

    rows = [
        (f"runtime {name}", version or "not installed") for name, version in found.runtimes.items()
    ]
    return rows + engine_rows(found.engines)


def _machine_rows(machine: "Machine") -> list[tuple[str, str]]:
    memory = machine.memory_available
    return [
        ("processor", machine.processor),
        ("instruction sets", " ".join(machine.instruction_sets) or "unknown"),
        ("cores", f"{machine.threads} used of {machine.logical_cores} logical"),
        ("memory available", "unknown" if memory is None else size(memory)),
    ]


def _library_rows(library: "Library") -> list[tuple[str, str]]:
    rows = [("llama-cpp-python", library.version or "missing")]
    if not library.runs:
        return [*rows, ("safety probe", "failed")]
    verdict = "passed"
    if library.problem:
        from gritlite.runtime.probe import REBUILD

        verdict = f"passed only without the fastest kernels ({library.problem}): run  {REBUILD}"
    return [
        *rows,
        ("build uses", " ".join(library.features) or "no instruction sets"),
        *_gpu_rows(library),
        ("safety probe", verdict),
    ]


def _gpu_rows(library: "Library") -> list[tuple[str, str]]:
    if not library.gpus:
        backends = ", ".join(library.gpu_backends)
        lack = f"none seen by this {backends} build" if backends else "not in this build"
        return [("GPU", f"{lack} (docs/gpu.md)")]
    return [
        (
            f"GPU {gpu.name}",
            f"{gpu.description}, {size(gpu.memory_free)} of {size(gpu.memory_total)} free",
        )
        for gpu in library.gpus
    ]
