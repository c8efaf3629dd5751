"""Which engine embeds: llama.cpp, or a form of the model's graph that has passed its check here.

When a file is first used, each form that may suit it is made and compared with llama.cpp, and
the verdict is kept (see `verdict`). The graphs of forms that are not chosen are removed. The
form for a GPU counts where the layers are wanted on one that ONNX Runtime can use.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gritlite.errors import ArchitectureError, CancelledError, DeviceError, FileError
from gritlite.graph.matrix import FLOAT_TYPES
from gritlite.graph.network import network_of
from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.hyperparameters import read_hyperparameters
from gritlite.runtime.llama import GpuLayers
from gritlite.runtime.model_identity import ModelIdentity
from gritlite.runtime.onnx import device, packages, verdict
from gritlite.runtime.onnx.forms import NUMBERS, Form, Numbers, Runtime
from gritlite.runtime.onnx.preparation import weight_bytes
from gritlite.runtime.onnx.trials import Trials
from gritlite.runtime.onnx.verdict import FormVerdict, Precision, Setting, Verdict, is_wanted
from gritlite.runtime.onnx.workbench import FileWorkbench, Workbench
from gritlite.system import cache, locks, processor
from gritlite.system.machine import available_memory
from gritlite.system.progress import ProgressCallback, no_progress, part_of

FLOAT16 = Form("onnx", "float16")
_READING = 0.03  # of the time for measuring, if the file is read for its fingerprint
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}  # flags of processors that multiply such numbers


@dataclass(frozen=True)
class Choice:
    """The form that embeds, None for llama.cpp; `note` is what the user should know, if anything.

    The form's graph is in the cache, unless it has been removed since its check.
    """

    form: Form | None
    note: str = ""


def choose(
    file: GGUFFile,
    setting: Setting,
    *,
    precision: Precision | None = None,
    runtime: Runtime | None = None,
    bench: Workbench | None = None,
    progress: ProgressCallback = no_progress,
    cancel: threading.Event | None = None,
) -> Choice:
    """Choose the engine for a file, by its verdict; measure what is not known yet.

    With the precision "exact" only forms with the file's own numbers are chosen, otherwise the
    fastest that has passed its check. A `runtime` None means "auto": any that is installed, or
    llama.cpp where no form passes, none is faster, or memory is short. With a runtime given
    the choice is one of its forms, also if the check fails, of which the note then tells; and
    with "fast", the one with rounded numbers if the runtime has one. Where all layers are to be
    on a GPU, the runtime "onnx" has only the form for it.

    Measuring takes about a minute for a model of 135M parameters on two cores;
    `progress` counts thousandths. `bench` replaces the engines in tests.

    Raises CancelledError, and FileError for a file that cannot be read; with a runtime also
    MissingExtraError, ArchitectureError for layers that no graph is written for, and
    DeviceError if all layers are to be on a GPU that it cannot use.
    """
    versions = _reaching(file, setting, _installed(file, setting, precision, runtime), runtime)
    if not versions or not _is_known(file, runtime):
        return Choice(None)
    fingerprint = _fingerprint(file, part_of(progress, 0, _READING), cancel)
    progress = part_of(progress, _READING, 1)
    found = verdict.known(fingerprint, setting) or Verdict(setting, ())
    tried: Mapping[Form, str] = _untried(versions, found)
    if tried:
        try:
            with _alone(fingerprint, cancel):
                found = verdict.known(fingerprint, setting) or found
                tried = _untried(versions, found)  # another process may have tried the others
                bench = bench or FileWorkbench(file, setting.threads, setting.gpu_layers, cancel)
                trials = Trials(file, bench, lambda each: verdict.keep(fingerprint, each), cancel)
                found = trials.run(tried, found, progress, discard=runtime is None)
                for form in tried.keys() - _kept_forms(found, precision, runtime):
                    bench.discard(form)
        except FileError as error:  # there is no cache to write to
            if runtime is not None:
                raise
            return Choice(None, f"{file.path} is embedded by llama.cpp: {error}")
    found = _of_versions(found, versions)
    if runtime is not None:
        return _explicit(found, precision, runtime)
    return _automatic(file, found, precision, is_new=bool(tried))


def _fingerprint(file: GGUFFile, progress: ProgressCallback, cancel: threading.Event | None) -> str:
    def report(done: int, total: int) -> None:
        if cancel is not None and cancel.is_set():
            raise CancelledError("choosing the engine was cancelled")
        progress(done, total)

    return ModelIdentity(file).fingerprint(report)


def known_choice(file: GGUFFile, setting: Setting, *, precision: Precision | None = None) -> Choice:
    """Choose as `choose` does for "auto", by what is known: nothing is made, measured or read."""
    fingerprint = ModelIdentity(file).known()
    found = verdict.known(fingerprint, setting) if fingerprint else None
    if found is None:
        return Choice(None)
    versions = _installed(file, setting, precision, None)
    return _automatic(file, _of_versions(found, versions), precision, is_new=False)


def candidates(file: GGUFFile, gpu_layers: GpuLayers) -> tuple[Form, ...]:
    """Return the forms that may suit a file and this machine, whether installed or not.

    That for a GPU is among them where the package for one is installed and `gpu_layers` puts
    all layers there: a graph is not divided.
    """
    types = {each.type for each in file.tensors if len(each.shape) > 1 and _is_layer(each.name)}
    exact: Numbers = "float32" if types <= FLOAT_TYPES else "blocks"
    forms = [Form("onnx", "int8"), Form("onnx", exact), Form("openvino", exact)]
    if _BFLOAT16.intersection(processor.kernel_flags()):
        forms.append(Form("openvino", "bfloat16"))
    wanted = gpu_layers == "auto" or _all_on_gpu(file, gpu_layers)
    if wanted and packages.is_installed(device.GPU.distribution):
        forms.insert(0, FLOAT16)
    return tuple(forms)


def _all_on_gpu(file: GGUFFile, gpu_layers: GpuLayers) -> bool:
    """Return whether all layers have to be on a GPU."""
    if isinstance(gpu_layers, int):
        return gpu_layers >= read_hyperparameters(file).layers
    return gpu_layers == "all"


def _is_layer(tensor: str) -> bool:
    return tensor.startswith("blk.")


def _installed(
    file: GGUFFile, setting: Setting, precision: Precision | None, runtime: Runtime | None
) -> dict[Form, str]:
    """Return the forms that may be chosen, with the installed version of their runtime.

    Raises MissingExtraError if a runtime is given that is not installed.
    """
    versions = {each: packages.installed_version(each) for each in NUMBERS}
    if runtime is not None and versions[runtime] is None:
        raise packages.missing(runtime)
    return {
        form: version
        for form in candidates(file, setting.gpu_layers)
        if is_wanted(form, precision, runtime) and (version := versions[form.runtime])
    }


def _reaching(
    file: GGUFFile, setting: Setting, versions: dict[Form, str], runtime: Runtime | None
) -> dict[Form, str]:
    """Leave out the form for a GPU if ONNX Runtime can use none, or those for the processor.

    Those are left out where the runtime "onnx" was asked for by name with all layers on a GPU.
    Raises then DeviceError if it can use none.
    """
    required = runtime == "onnx" and _all_on_gpu(file, setting.gpu_layers)
    if FLOAT16 not in versions and not required:
        return versions
    try:
        device.check_gpu()
    except DeviceError:
        if required:
            raise
        return {form: version for form, version in versions.items() if form != FLOAT16}
    return {FLOAT16: versions[FLOAT16]} if required else versions


def _is_known(file: GGUFFile, runtime: Runtime | None) -> bool:
    """Return whether graphs are written for the file's layers; if not, raise for a runtime."""
    try:
        network_of(file)
    except ArchitectureError:
        if runtime is not None:
            raise
        return False
    return True


def _untried(versions: Mapping[Form, str], found: Verdict) -> dict[Form, str]:
    """Return the forms of which nothing is known with the installed version of the runtime."""
    tried = {each.form: each.version for each in found.forms}
    return {form: version for form, version in versions.items() if tried.get(form) != version}


def _of_versions(found: Verdict, versions: Mapping[Form, str]) -> Verdict:
    """Return what was found of these forms with these versions."""
    forms = (each for each in found.forms if versions.get(each.form) == each.version)
    return Verdict(found.setting, tuple(forms))


@contextlib.contextmanager
def _alone(fingerprint: str, cancel: threading.Event | None) -> Iterator[None]:
    """Be the only process that measures this model, so that none waits twice as long."""

    def waiting() -> None:
        if cancel is not None and cancel.is_set():
            raise CancelledError("choosing the engine was cancelled")

    path = cache.folder(verdict.FOLDER) / f".{fingerprint}.lock"
    with locks.exclusive(path, waiting=waiting):
        yield


def _kept_forms(
    found: Verdict, precision: Precision | None, runtime: Runtime | None
) -> set[Form | None]:
    """Return the forms whose graphs stay on the disk."""
    kept: set[Form | None] = {each.form for each in found.chosen()}
    return kept if runtime is None else {*kept, _explicit(found, precision, runtime).form}


def _explicit(found: Verdict, precision: Precision | None, runtime: Runtime) -> Choice:
    """Choose among the forms of a runtime that was asked for by name."""
    forms = found.of(precision, runtime)
    measured = [each for each in forms if each.measures is not None]
    agreeing = [each for each in measured if not each.disagreement]
    rounded = [each for each in measured if precision == "fast" and not each.form.is_exact]
    pool = rounded or agreeing or [max(forms, key=_nearness)]
    best = max(pool, key=lambda each: each.speed)
    wrong = best.disagreement or best.failure
    note = f"{best.form.name} did not pass its check on this machine: {wrong}" if wrong else ""
    return Choice(best.form, note)


def _nearness(found: FormVerdict) -> tuple[float, bool]:
    mean = found.measures.mean_cosine if found.measures else -1.0
    return mean, found.form.is_exact


def _automatic(
    file: GGUFFile, found: Verdict, precision: Precision | None, *, is_new: bool
) -> Choice:
    """Choose among all forms that passed, or llama.cpp."""
    best = found.best(precision)
    note = _problems(file, found.of(precision, None), best) if is_new else ""
    if best is None:
        return Choice(None, note)
    need, free = weight_bytes(file, best.form), available_memory()
    if free is not None and need > free and not best.form.on_gpu:  # whose memory is its own
        return Choice(
            None,
            f"{file.path} is embedded by llama.cpp, as its graph ({best.form.name}) needs "
            f"{need >> 20:,} MiB and {free >> 20:,} MiB are free",
        )
    return Choice(best.form, note)


def _problems(file: GGUFFile, forms: list[FormVerdict], best: FormVerdict | None) -> str:
    """Say which engine embeds a file instead of forms that are faster but have a problem."""
    wrong = [each for each in forms if each.problem and not each.slowness]
    if not wrong:
        return ""
    reasons = "; ".join(f"{each.form.name}: {each.problem}" for each in wrong)
    engine = "llama.cpp" if best is None else best.form.name
    return f"{file.path} is embedded by {engine}, as other engines failed their check: {reasons}"
