"""The score from which on a passage can tell anything about a question, where it was measured.

Cosines of different models are not comparable, so a least score belongs to one model and one
way to search. docs/rag.md says how it was measured for the default model; other models have
none, and files made from the default model (a smaller quantization, another adapter) do not
inherit its.
"""

from gritlite.rag.search import Mode
from gritlite.runtime.any_model import AnyModel
from gritlite.system.catalog import CATALOG

_MEASURED: dict[tuple[str, Mode], float] = {
    (CATALOG["default"].source.file, "hybrid"): 0.15,
}


def measured_min_score(model: AnyModel, mode: Mode) -> float:
    """The least score of a passage that an answer may come from; 0, all of them, if not known."""
    return _MEASURED.get((model.path.name, mode), 0.0)
