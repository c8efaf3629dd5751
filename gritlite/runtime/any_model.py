"""What stores and integrations take as a model: one in this process, or in one of its own."""

from gritlite.runtime.answer import Answer
from gritlite.runtime.isolation.answer import IsolatedAnswer
from gritlite.runtime.isolation.model import IsolatedGritLM
from gritlite.runtime.isolation.scorer import IsolatedScorer
from gritlite.runtime.model import GritLM
from gritlite.runtime.scorer import Scorer

AnyModel = GritLM | IsolatedGritLM
AnyAnswer = Answer | IsolatedAnswer


def open_scorer(model: AnyModel) -> Scorer | IsolatedScorer:
    """Return a scorer of the model, where the model is. Close it, as `Scorer`."""
    return IsolatedScorer(model) if isinstance(model, IsolatedGritLM) else Scorer(model)
