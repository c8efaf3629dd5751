"""What the tests of the adapters share."""

import pytest

LONG = 'root ::= [a-z ]+ "END"'  # an answer that goes on until the context is full


@pytest.fixture
def answers(tiny_model, monkeypatch):
    """The answers that adapters begin with `tiny_model`."""
    begun = []

    def recorded(begin):
        def begin_and_keep(*args, **options):
            begun.append(begin(*args, **options))
            return begun[-1]

        return begin_and_keep

    for name in ("chat", "generate"):
        monkeypatch.setattr(tiny_model, name, recorded(getattr(tiny_model, name)))
    return begun
