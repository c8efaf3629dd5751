"""Tries the forms of a model's graph: makes each, and compares it with llama.cpp.

What is found of a form is kept at once, and that it is being tried before that, so that a
form that crashes the process is not tried a second time. The module chooses nothing.
"""

import threading
from collections.abc import Callable, Mapping

from gritlite.errors import CancelledError, FileError, GritLiteError, OutOfMemoryError
from gritlite.modelfile.header import GGUFFile
from gritlite.runtime.onnx.check import (
    Comparison,
    Measures,
    SampleEmbedder,
    sample_texts,
)
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.verdict import FormVerdict, Verdict, merged
from gritlite.runtime.onnx.workbench import Workbench
from gritlite.system.progress import ProgressCallback, part_of

ENDED = "the process ended while it was tried"
_MAY_CHANGE = (FileError, OutOfMemoryError)  # such a failure is not kept
_PREPARATION = 0.75  # of the time for a form


class Trials:
    """Tries forms of one file. `keep` is called with each verdict that is to be kept.

    Passes end within one of `cancel` being set.
    """

    def __init__(
        self,
        file: GGUFFile,
        bench: Workbench,
        keep: Callable[[Verdict], None],
        cancel: threading.Event | None,
    ) -> None:
        self._file, self._bench, self._keep, self._cancel = file, bench, keep, cancel
        self._comparison: Comparison | None = None

    def run(
        self,
        forms: Mapping[Form, str],
        earlier: Verdict,
        progress: ProgressCallback,
        *,
        discard: bool,
    ) -> Verdict:
        """Return a verdict with what was found of forms, whose runtime's version is given.

        With `discard` the graph of a form with a problem is removed before the next is made.
        `progress` counts thousandths. Raises CancelledError.
        """
        found = kept = earlier
        count = len(forms)
        for number, (form, version) in enumerate(forms.items()):
            self._keep(merged(kept, [FormVerdict(form, version, failure=ENDED)]))
            try:
                result, may_change = self._try(
                    form, version, part_of(progress, number / count, (number + 1) / count)
                )
            except BaseException:
                self._keep(kept)
                raise
            found = merged(found, [result])
            kept = kept if may_change else merged(kept, [result])
            self._keep(kept)
            if discard and result.problem:
                self._bench.discard(form)
        return found

    def _try(
        self, form: Form, version: str, progress: ProgressCallback
    ) -> tuple[FormVerdict, bool]:
        """Return what was found of a form, and whether it may be otherwise another time."""
        size = 0
        try:
            size = self._bench.prepare(form, part_of(progress, 0, _PREPARATION))
            measures = self._measure(form)
        except CancelledError:
            raise
        except GritLiteError as error:
            failed = FormVerdict(form, version, size, failure=str(error))
            return failed, isinstance(error, _MAY_CHANGE)
        progress(1, 1)
        return FormVerdict(form, version, size, measures), False

    def _measure(self, form: Form) -> Measures:
        # llama.cpp is loaded after the graph was made: the two need much memory together
        llama = SampleEmbedder(self._bench.open_llama(), self._file, cancel=self._cancel)
        try:
            if self._comparison is None:
                self._comparison = Comparison(llama, sample_texts(), self._bench.clock)
            graph = SampleEmbedder(self._bench.open_form(form), self._file, cancel=self._cancel)
            try:
                return self._comparison.measure(llama, graph)
            finally:
                graph.close()
        finally:
            llama.close()
