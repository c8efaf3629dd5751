"""The results of a comparison: a row of measures per file, verdicts, and requirements.

The terminal table, the JSON and HTML reports and requirements all use the table
`MEASURES`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gritlite.calibrate.measures import GOOD_COSINE, GOOD_KL
from gritlite.errors import UsageError
from gritlite.system.files import atomic_write
from gritlite.version import __version__


@dataclass(frozen=True)
class Measure:
    """A number of a file's row. `better` is "higher" or "lower", or None for plain facts."""

    name: str
    label: str
    better: str | None
    digits: str

    def text(self, row: "Row") -> str:
        """Return a row's value as text."""
        value = row.values[self.name]
        return "-" if value is None else format(value, self.digits)


MEASURES = (
    Measure("bytes", "size", None, ",.0f"),
    Measure("bits", "bits/weight", None, ".2f"),
    Measure("cosine", "cosine", "higher", ".5f"),
    Measure("cosine_p1", "1st percentile", "higher", ".5f"),
    Measure("cosine_min", "least", "higher", ".5f"),
    Measure("neighbours", "same neighbours", "higher", ".4f"),
    Measure("kl", "KL", "lower", ".5f"),
    Measure("kl_p99", "99th percentile", "lower", ".4f"),
    Measure("top1", "same token", "higher", ".4f"),
    Measure("perplexity", "perplexity", "lower", ".3f"),
    Measure("embed_memory", "memory, embed", None, ",.0f"),
    Measure("generate_memory", "memory, generate", None, ",.0f"),
    Measure("embed_speed", "tokens/s, embed", "higher", ",.0f"),
    Measure("generate_speed", "tokens/s, generate", "higher", ",.1f"),
)
_BY_NAME = {measure.name: measure for measure in MEASURES}

_EMBED_VERDICTS = ((0.9995, "near lossless"), (GOOD_COSINE, "good"), (0.97, "usable"))
_GENERATE_VERDICTS = ((0.005, "near lossless"), (GOOD_KL, "good"), (0.25, "usable"))


@dataclass(frozen=True)
class Row:
    """One file. `values` has the measures by name, None where there is none.

    `scores` are those of labelled tasks, by name; `embed_layers` and
    `generate_layers` are 1 - cosine with the reference at the input of each layer
    and in the end.
    """

    file: str
    values: Mapping[str, float | None]
    scores: Mapping[str, float] = field(default_factory=dict)
    embed_layers: tuple[float, ...] = ()
    generate_layers: tuple[float, ...] = ()

    @property
    def embed_verdict(self) -> str:
        """Return the verdict on embedding."""
        cosine = self.values["cosine"] or 0.0
        return next((word for least, word in _EMBED_VERDICTS if cosine >= least), "poor")

    @property
    def generate_verdict(self) -> str:
        """Return the verdict on generation."""
        kl = self.values["kl"] or 0.0
        return next((word for most, word in _GENERATE_VERDICTS if kl <= most), "poor")


@dataclass(frozen=True)
class Comparison:
    """Files compared with a reference, and the size of the sample they were compared on."""

    reference: Row
    candidates: tuple[Row, ...]
    documents: int
    tokens: int

    @property
    def rows(self) -> tuple[Row, ...]:
        """All files, the reference first."""
        return (self.reference, *self.candidates)


@dataclass(frozen=True)
class Requirement:
    """A bound that every candidate must meet."""

    measure: Measure
    bound: float

    def broken_by(self, row: Row) -> str | None:
        """Return how a row violates the bound, None if it does not."""
        value = row.values[self.measure.name]
        higher = self.measure.better == "higher"
        if value is not None and (value >= self.bound if higher else value <= self.bound):
            return None
        found = "not known" if value is None else f"{value:.6g}"
        bound = f"at {'least' if higher else 'most'} {self.bound:g}"
        return f"{row.file}: {self.measure.name} is {found}, but {bound} is required"


def requirements(text: str) -> tuple[Requirement, ...]:
    """Read "cosine=0.99,kl=0.05". Raises UsageError for an unknown measure or an invalid number."""
    found = []
    for part in text.split(","):
        name, _, number = part.partition("=")
        measure = _BY_NAME.get(name.strip())
        if measure is None or measure.better is None:
            known = ", ".join(each.name for each in MEASURES if each.better)
            raise UsageError(f"nothing can be required of {name.strip()!r}: name one of {known}")
        try:
            found.append(Requirement(measure, float(number)))
        except ValueError:
            raise UsageError(f"{part.strip()!r} has no number: write {measure.name}=0.99") from None
    return tuple(found)


def write_json(comparison: Comparison, path: Path, *, force: bool) -> None:
    """Write everything in full precision. Raises FileError, OutputExistsError."""
    document = {"gritlite": __version__, **asdict(comparison)}
    for row, facts in zip(
        comparison.rows, [document["reference"], *document["candidates"]], strict=True
    ):
        facts["verdict"] = {"embed": row.embed_verdict, "generate": row.generate_verdict}
    with atomic_write(path, force=force) as file:
        file.write(json.dumps(document, indent=2).encode() + b"\n")
