"""What is known of the engines that embed with a model, for `inspect` and `doctor`.

Nothing is measured, and no model file is read whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gritlite.cli.shared.tables import size
from gritlite.system.wording import counted

if TYPE_CHECKING:
    from gritlite.modelfile.header import GGUFFile
    from gritlite.runtime.onnx.check import Measures
    from gritlite.runtime.onnx.verdict import FormVerdict, Verdict


@dataclass(frozen=True)
class FormFacts:
    """What was found of one form of a model's graph; `problem` is empty if it may be used.

    `graph` is the folder where its graph is kept, None if it is not, and `bytes` the size of its
    files.
    """

    form: str
    problem: str
    measures: "Measures | None"
    bytes: int
    graph: Path | None


@dataclass(frozen=True)
class EngineFacts:
    """Which engine embeds with a model in one setting: "llama", or a form of its graph."""

    threads: int
    gpu_layers: int | str
    fast: str
    exact: str
    forms: tuple[FormFacts, ...]


def engine_facts(file: "GGUFFile") -> tuple[EngineFacts, ...]:
    """What is known of a file on this machine; nothing where it has not been measured."""
    from gritlite.runtime.model_identity import ModelIdentity

    fingerprint = ModelIdentity(file).known()
    return () if fingerprint is None else facts_of(fingerprint)


def facts_of(fingerprint: str) -> tuple[EngineFacts, ...]:
    """What is known of the file with this fingerprint."""
    from gritlite.runtime.onnx.verdict import all_known

    return tuple(_facts(each, fingerprint) for each in all_known(fingerprint))


def _facts(verdict: "Verdict", fingerprint: str) -> EngineFacts:
    fast, exact = (verdict.best(precision) for precision in ("fast", "exact"))
    return EngineFacts(
        threads=verdict.setting.threads,
        gpu_layers=verdict.setting.gpu_layers,
        fast="llama" if fast is None else fast.form.name,
        exact="llama" if exact is None else exact.form.name,
        forms=tuple(_form_facts(each, fingerprint) for each in verdict.forms),
    )


def _form_facts(found: "FormVerdict", fingerprint: str) -> FormFacts:
    from gritlite.errors import MissingExtraError
    from gritlite.runtime.onnx import graph_cache

    try:
        graph = graph_cache.find(fingerprint, found.form)
    except MissingExtraError:
        graph = None
    return FormFacts(
        form=found.form.name,
        problem=found.problem,
        measures=found.measures,
        bytes=found.bytes,
        graph=None if graph is None else graph.path,
    )


def engine_rows(facts: Sequence[EngineFacts]) -> list[tuple[str, str]]:
    """Lines for a table: which engine embeds in each setting, and what is known of the others."""
    rows = []
    for each in facts:
        layers = "" if each.gpu_layers == "auto" else f", GPU layers {each.gpu_layers}"
        engines = each.fast if each.fast == each.exact else f"{each.fast}; exact: {each.exact}"
        rows.append((f"engine, {counted(each.threads, 'thread')}{layers}", engines))
        rows += [("", line) for form in each.forms for line in _lines(form)]
    return rows


def _lines(form: FormFacts) -> list[str]:
    lines = [f"{form.form}: {form.problem or 'passed'}"]
    found = form.measures
    if found is not None:
        lines.append(
            f"  {found.speed:.2f} times llama.cpp's speed, {found.query_speed:.2f} for a short "
            f"text alone; cosine {found.mean_cosine:.4f}, least {found.least_cosine:.4f} of "
            f"{found.texts} texts"
        )
    if form.graph is not None:
        lines.append(f"  {size(form.bytes)} in {form.graph}")
    return lines
