"""What was found of the forms of a model's graph on this machine, and which of them is used.

    engines/FINGERPRINT.json    in the cache: the verdicts about one model file

A verdict holds for the build of llama.cpp, the processor, gritlite's graphs and its check, the
version of each runtime, and the settings that llama.cpp was measured with. The module measures
nothing.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from gritlite.errors import LibraryError, UsageError
from gritlite.runtime import probe
from gritlite.runtime.onnx.check import CHECK_VERSION, Measures
from gritlite.runtime.onnx.forms import Form, Runtime
from gritlite.runtime.onnx.graph_cache import GRAPH_VERSION
from gritlite.system import cache

if TYPE_CHECKING:
    from gritlite.runtime.llama import GpuLayers  # whose import loads llama.cpp

Precision = Literal["exact", "fast"]

FOLDER = "engines"
# Of cosines to llama.cpp's vectors of the same file, which are rounded too: those of a Q8_0 file
# of SmolLM2-135M have 0.9996 to float32, least 0.9983. A fast form is to have 0.998, least 0.99,
# to float32: these bounds leave out llama.cpp's share.
FAST_MEAN, FAST_LEAST = 0.9975, 0.988
EXACT_MEAN, EXACT_LEAST = 0.999, 0.997
_GAIN = 1.1  # less over many texts is not worth a second copy of the weights
_QUERY_GAIN = 0.9  # a short text alone may take so little longer, which is noise
_READING_GAIN = 1.15  # less would not make up for handing keys and values over


@dataclass(frozen=True)
class Setting:
    """How llama.cpp was run, which speeds are compared with; see `GritLM`."""

    threads: int
    gpu_layers: "GpuLayers"


@dataclass(frozen=True)
class FormVerdict:
    """What was found of one form; `bytes` are those of its graph on the disk.

    `measures` is None if it could not be measured; `failure` then says why.
    """

    form: Form
    version: str  # of the runtime's package
    bytes: int = 0
    measures: Measures | None = None
    failure: str = ""

    @property
    def speed(self) -> float:
        """Tokens a second over many texts, to llama.cpp's; 0 if it was not measured."""
        return self.measures.speed if self.measures else 0.0

    @property
    def problem(self) -> str:
        """Why `auto` does not take it; empty if it may."""
        return self.failure or self.disagreement or self.slowness

    @property
    def reads_prompts(self) -> bool:
        """Whether it reads long prompts for llama.cpp: as exactly, and faster on this machine."""
        return self.form.is_exact and self.speed >= _READING_GAIN

    @property
    def disagreement(self) -> str:
        """Which cosine is under its bound, in words; empty if none is."""
        if self.measures is None:
            return ""
        exact = self.form.is_exact
        for name, found, bound in (
            ("mean", self.measures.mean_cosine, EXACT_MEAN if exact else FAST_MEAN),
            ("least", self.measures.least_cosine, EXACT_LEAST if exact else FAST_LEAST),
        ):
            if not found >= bound:
                return f"the {name} cosine to llama.cpp's vectors is {found:.4f}, under {bound:g}"
        return ""

    @property
    def slowness(self) -> str:
        """Why it is not worth its memory, in words; empty if it is."""
        if self.measures is None:
            return ""
        if self.measures.speed < _GAIN:
            return f"it has {self.measures.speed:.2f} times llama.cpp's speed"
        if self.measures.query_speed < _QUERY_GAIN:
            return f"a short text alone has {self.measures.query_speed:.2f} times llama.cpp's speed"
        return ""


@dataclass(frozen=True)
class Verdict:
    """What was found of a model's forms in one setting."""

    setting: Setting
    forms: tuple[FormVerdict, ...]

    def best(
        self, precision: Precision | None, runtime: Runtime | None = None
    ) -> FormVerdict | None:
        """Return the fastest form without a problem; None if there is none.

        With the precision "exact" only exact forms count; `runtime` None means any.
        """
        passed = [each for each in self.of(precision, runtime) if not each.problem]
        return max(passed, key=lambda each: each.speed, default=None)

    def of(self, precision: Precision | None, runtime: Runtime | None) -> list[FormVerdict]:
        """Return what was found of the forms with this precision and runtime."""
        return [each for each in self.forms if is_wanted(each.form, precision, runtime)]

    def chosen(self) -> tuple[FormVerdict, ...]:
        """Return the forms that are used for either precision."""
        best = (self.best("fast"), self.best("exact"))
        return tuple(dict.fromkeys(each for each in best if each is not None))


def is_wanted(form: Form, precision: Precision | None, runtime: Runtime | None) -> bool:
    """Return whether a form has this runtime (None: any) and is exact where that is asked for."""
    return (runtime is None or form.runtime == runtime) and (form.is_exact or precision != "exact")


def reads_prompts(fingerprint: str, setting: Setting, form: Form) -> bool:
    """Return whether a form of a file reads its prompts; False if that was not measured."""
    found = known(fingerprint, setting)
    return found is not None and any(e.form == form and e.reads_prompts for e in found.forms)


def known(fingerprint: str, setting: Setting) -> Verdict | None:
    """Return the kept verdict about a file with this fingerprint; None if there is none."""
    found = (each for each in all_known(fingerprint) if each.setting == setting)
    return next(found, None)


def all_known(fingerprint: str) -> tuple[Verdict, ...]:
    """Return the verdicts about a file in all settings, for this machine and these versions."""
    kept = cache.read_record(*_record(fingerprint))
    try:
        if kept["build"] != _build():
            return ()
        return tuple(_read(each) for each in kept["verdicts"])
    except (KeyError, TypeError, ValueError, UsageError):
        return ()  # there is none, or it is damaged
    except LibraryError:
        return ()  # llama.cpp is not installed


def keep(fingerprint: str, verdict: Verdict) -> None:
    """Keep a verdict in place of an earlier one in its setting."""
    _keep(fingerprint, [*_others(fingerprint, verdict.setting), verdict])


def forget(fingerprint: str, setting: Setting) -> None:
    """Drop what was found in a setting, so that it is measured anew."""
    _keep(fingerprint, _others(fingerprint, setting))


def _others(fingerprint: str, setting: Setting) -> list[Verdict]:
    return [each for each in all_known(fingerprint) if each.setting != setting]


def _keep(fingerprint: str, verdicts: Iterable[Verdict]) -> None:
    kept = {"build": _build(), "verdicts": [asdict(each) for each in verdicts]}
    cache.keep_record(kept, *_record(fingerprint))


def merged(verdict: Verdict, found: Iterable[FormVerdict]) -> Verdict:
    """Return a verdict with new findings in place of earlier ones about the same forms."""
    forms = {each.form: each for each in verdict.forms}
    forms.update({each.form: each for each in found})
    return Verdict(verdict.setting, tuple(forms.values()))


def _read(kept: Any) -> Verdict:
    forms = tuple(_read_form(each) for each in kept["forms"])
    return Verdict(Setting(**kept["setting"]), forms)


def _read_form(kept: Any) -> FormVerdict:
    measures = kept["measures"]
    return FormVerdict(
        Form(**kept["form"]),
        str(kept["version"]),
        int(kept["bytes"]),
        None if measures is None else _read_measures(**measures),
        str(kept["failure"]),
    )


def _read_measures(*, texts: Any, **numbers: Any) -> Measures:
    return Measures(int(texts), **{name: float(number) for name, number in numbers.items()})


def _build() -> str:
    """What all verdicts depend on, as a digest."""
    parts = (probe.fingerprint(), str(GRAPH_VERSION), str(CHECK_VERSION))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _record(fingerprint: str) -> tuple[str, str]:
    return FOLDER, f"{fingerprint}.json"
