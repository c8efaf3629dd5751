"""Exact match and F1 of answers to questions about passages.

SQuAD's questions about passages, answered greedily in at most `MAX_TOKENS`
tokens through the chat template, in one of three ways that share one wording:

    none    the question alone
    prompt  the passage and the question in one message, read causally (full prefill)
    state   the passage as the key-value state of its embedding pass, then the question;
            the states of several passages are joined

Scores are those of SQuAD 1.1's evaluate-v1.1.py: exact match and F1 of the words,
the best over the accepted answers, after lower-casing and without punctuation
and articles.
"""

import re
import string
from collections import Counter
from pathlib import Path
from typing import Literal, get_args

from gritlite.errors import InputError, UsageError
from gritlite.eval.questions import answerable, read_questions
from gritlite.eval.squad import Question
from gritlite.eval.task import Score, spread
from gritlite.prompt import question_after
from gritlite.runtime.model import GritLM
from gritlite.runtime.state import State
from gritlite.system.progress import ProgressCallback

Passages = Literal["none", "prompt", "state"]

ASKED = "{question}\nAnswer with a few words from the text."
MAX_TOKENS = 32
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class ExactMatch:
    """The share of questions answered in the words of an accepted answer, and their mean F1.

    `limit` selects that many questions, spread evenly, in the file's order.
    Questions without an answer are left out, and the note says how many. Raises
    FileError, and FormatError for a file of another form.
    """

    def __init__(
        self, path: Path, *, passages: Passages = "prompt", limit: int | None = None
    ) -> None:
        if passages not in get_args(Passages):
            raise UsageError(f"passages is {passages!r}: expected one of {get_args(Passages)}")
        self.name = f"exact match, passage: {passages} {path.name}"
        questions = read_questions(path)
        answered = answerable(questions, path)
        self._questions = spread(answered, limit)
        self._passages = passages
        self._note = _note(len(self._questions), len(answered), len(questions))

    def run(self, model: GritLM, progress: ProgressCallback) -> list[Score]:
        """Measure the model."""
        count = len(self._questions)
        passages = _Passages(model)
        matches = overlaps = 0.0
        for number, question in enumerate(self._questions):
            progress(number, count)
            answer = self._answer(model, passages, question)
            matches += max(exact_match(answer, accepted) for accepted in question.answers)
            overlaps += max(f1(answer, accepted) for accepted in question.answers)
        progress(count, count)
        return [
            Score(self.name, "exact match", matches / count, count, self._note),
            Score(self.name, "F1", overlaps / count, count, self._note),
        ]

    def _answer(self, model: GritLM, passages: "_Passages", question: Question) -> str:
        content, document = ASKED.replace("{question}", question.text), None
        try:
            if self._passages == "prompt":
                content = question_after(question.passages, content)
            elif self._passages == "state":
                document = passages.state(question.passages)
            messages = [{"role": "user", "content": content}]
            return model.chat(messages, document=document, temperature=0, max_tokens=MAX_TOKENS)
        except InputError as error:
            raise type(error)(f"question {question.id}: {error.problem}") from error


class _Passages:
    """The last passages' state, reused while consecutive questions share them."""

    def __init__(self, model: GritLM) -> None:
        self._model = model
        self._texts: tuple[str, ...] = ()
        self._state: State | None = None

    def state(self, texts: tuple[str, ...]) -> State:
        """Return the state of passages, computed unless they are the last ones."""
        if self._state is None or texts != self._texts:
            states = [self._model.document_state(text) for text in texts]
            self._state, self._texts = self._model.join_states(states), texts
        return self._state


def normalize(answer: str) -> list[str]:
    """Return an answer's words, lower-cased, without punctuation and articles."""
    return _ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split()


def exact_match(answer: str, accepted: str) -> bool:
    """Return whether two answers have the same words."""
    return normalize(answer) == normalize(accepted)


def match(answer: str, accepted: str) -> bool:
    """Return whether the answer contains an accepted answer as consecutive words."""
    return f" {' '.join(normalize(accepted))} " in f" {' '.join(normalize(answer))} "


def f1(answer: str, accepted: str) -> float:
    """The harmonic mean of precision and recall of an answer's words, 0 where none is shared."""
    given, wanted = normalize(answer), normalize(accepted)
    shared = (Counter(given) & Counter(wanted)).total()
    return 2 * shared / (len(given) + len(wanted)) if shared else 0.0


def _note(taken: int, answered: int, whole: int) -> str:
    without = f"; {whole - answered} without an answer left out" if answered < whole else ""
    return f"{taken} of {answered} questions{without}"
