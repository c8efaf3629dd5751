"""The model `default` with its real weights on both devices, where its halves have travelled."""

from checks.comparing import departure, gpu_layers, ids_of, least_cosine, loaded
from checks.parts import Task
from gritlite import GritLM
from gritlite.errors import FileError
from gritlite.system.locate import locate
from tests.tiny_tokenizers import SENTENCES

_LEAST = 0.999  # it is in q8_0
_TIE = 0.1  # standard deviations of the logits
_QUESTIONS = (
    "In one sentence: why do leaves look green?",
    "Name three rivers in Europe.",
    "What is a vector?",
)


def run(task: Task) -> None:
    """Vectors and greedy answers."""
    try:
        path = locate("default")
    except FileError as error:
        task.results.leave_out("default", str(error))
        return
    with loaded(task, path, 0) as reference, loaded(task, path, gpu_layers(task)) as model:
        least = least_cosine(model.encode(list(SENTENCES)), reference.encode(list(SENTENCES)))
        task.results.check("vectors", least >= _LEAST, least_cosine=least, wanted=_LEAST)
        for question in _QUESTIONS:
            ids, expected = _answer(task, reference, question)
            _, given = _answer(task, model, question)
            left = departure(reference, ids, expected, given)
            task.results.check(
                question,
                left is None or left.gap <= _TIE,
                tokens=len(expected),
                same_tokens=len(expected) if left is None else left.after_tokens,
                gap=0.0 if left is None else left.gap,
            )


def _answer(task: Task, model: GritLM, question: str) -> tuple[list[int], list[int]]:
    messages = [{"role": "user", "content": question}]
    tokens = task.size.answer_tokens
    return ids_of(model.chat(messages, stream=True, temperature=0, max_tokens=tokens))
