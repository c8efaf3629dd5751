"""A fake workbench: engines that turn vectors by an angle, and a clock that they move."""

from dataclasses import asdict

import numpy as np

from gritlite.runtime.model_identity import ModelIdentity, Stamp
from gritlite.system import cache
from tests.runtime.fake_engine import FakeEngine, FakePass


def keep_fingerprint(file):
    """As if the file had been older than a few seconds when it was read."""
    kept = {"stamp": asdict(Stamp.of(file.path)), "fingerprint": ModelIdentity(file).fingerprint()}
    cache.keep_record(kept, *ModelIdentity(file)._record())


class Clock:
    """Seconds that pass only where an engine computes."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TurningPass(FakePass):
    def run(self, sequences, starts, *, return_states=False, cancel=None):
        engine = self._engine
        engine.clock.now += engine.overhead + sum(map(len, sequences)) / engine.speed
        if engine.error is not None:
            raise engine.error
        hidden, states = super().run(sequences, starts, return_states=return_states)
        sine, cosine = np.sin(engine.angle), np.cos(engine.angle)
        turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]], np.float32)
        return hidden @ turn, states


class TurningEngine(FakeEngine):
    """Its vectors are a fake engine's, turned by an angle in radians.

    `speed` is in tokens a second; `overhead` are the seconds that each pass takes besides.
    """

    def __init__(self, clock, *, angle=0.0, speed=1000.0, overhead=0.0, error=None) -> None:
        super().__init__()
        self.clock, self.angle, self.speed = clock, angle, speed
        self.overhead, self.error = overhead, error
        self.closed = False

    def open_pass(self, tokens, attention):
        return TurningPass(self, tokens, attention)

    def close(self):
        self.closed = True


class FakeBench:
    """Opens a `TurningEngine` for each form, with the options given by the form's name.

    `prepared` are the forms that were made, in order, and `kept` those not discarded. An
    option `failure` is raised when the form is made.
    """

    def __init__(self, clock, llama=None, **forms) -> None:
        self.clock, self.llama = clock, llama or {}
        self.forms = {name.replace("_", "-"): options for name, options in forms.items()}
        self.prepared, self.kept, self.engines = [], [], []

    def open_llama(self):
        return self._open(self.llama)

    def prepare(self, form, progress):
        self.prepared.append(form.name)
        failure = self.forms[form.name].get("failure")
        if failure is not None:
            raise failure
        progress(1, 1)
        self.kept.append(form.name)
        return 1000

    def open_form(self, form):
        return self._open(self.forms[form.name])

    def discard(self, form):
        if form.name in self.kept:
            self.kept.remove(form.name)

    def _open(self, options):
        engine = TurningEngine(self.clock, **options)
        self.engines.append(engine)
        return engine
