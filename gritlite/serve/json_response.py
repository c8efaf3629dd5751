"""JSON answers."""

import json
from typing import Any

from starlette.responses import JSONResponse


def to_json(content: Any) -> str:
    """JSON without blanks. Numbers that JSON does not have raise ValueError."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class JsonResponse(JSONResponse):
    """JSON in UTF-8; half a surrogate pair, which a request can contain, becomes `?`."""

    def render(self, content: Any) -> bytes:
        """The bytes of the answer."""
        return to_json(content).encode("utf-8", "replace")
