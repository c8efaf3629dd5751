"""A schema whose parts are all allowed, but are too many, is refused after some time."""

import time

import pytest

from gritlite.errors import CancelledError, UsageError
from gritlite.runtime.schema import cancelled_by, clock, from_json_schema

LONG_TEXTS = {
    f"p{number}": {"type": "string", "pattern": f"^(x|y)*x(x|y){{9}}z{{{number}}}$"}
    for number in range(200)
}
SCHEMAS = {
    "texts": {"type": "object", "properties": LONG_TEXTS},
    "different items": {"type": "array", "items": {"enum": list(range(5000))}, "uniqueItems": True},
    "alternatives": {
        "allOf": [
            {"anyOf": [{"properties": {f"a{i}_{j}": {}}, "type": "object"} for i in range(30)]}
            for j in range(3)
        ]
    },
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_it_ends(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(clock, "SECONDS", 0.02)
    began = time.thread_time()
    with pytest.raises(UsageError, match=r"takes more than 0\.02 seconds|multiply"):
        from_json_schema(SCHEMAS[name])
    assert time.thread_time() - began < 3  # minutes, and for the second one a quarter, without


@pytest.mark.parametrize("name", ["texts", "different items"])
def test_it_is_cancelled(name: str) -> None:
    class Cancel:
        """Set when it is looked at for the third time."""

        looks = 0

        def is_set(self) -> bool:
            self.looks += 1
            return self.looks == 3

    cancel = Cancel()
    with pytest.raises(CancelledError, match="JSON schema"), cancelled_by(cancel):
        from_json_schema(SCHEMAS[name])
    assert cancel.looks == 3
    assert from_json_schema({"enum": list(range(1000))})  # nobody looks any more


def test_the_next_schema_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "SECONDS", 0.02)
    with pytest.raises(UsageError):
        from_json_schema(SCHEMAS["texts"])
    monkeypatch.undo()
    for _ in range(100):
        assert from_json_schema({"type": "string", "maxLength": 3})
    clock.tick()  # outside there is no limit
