"""Questions that the model in training answers itself."""

import json
from pathlib import Path

from answers import MAX_TOKENS, answered, questions

from gritlite.prompt import cached_question

LONG = " ".join(["A passage of fifty words and more."] * 10)


class Said:
    """An answer in pieces; `finish_reason` says whether it ended by itself."""

    def __init__(self, pieces: list[str], reason: str) -> None:
        self.pieces, self.finish_reason = pieces, reason

    def __iter__(self):
        return iter(self.pieces)


class Model:
    """Answers "Anna.", and without an end where it is asked "Endless?"."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def chat(self, messages, *, stream, temperature, max_tokens):
        (message,) = messages
        assert (stream, temperature, max_tokens) == (True, 0, MAX_TOKENS)
        self.prompts.append(message["content"])
        reason = "length" if "Endless?" in message["content"] else "stop"
        return Said([" An", "na."], reason)


def write(folder: Path, name: str, *rows: dict) -> None:
    (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_questions_on_long_passages_come_once(tmp_path: Path) -> None:
    write(tmp_path, "qa_passages", {"query": "Who?", "pos": [LONG]}, {"query": "B?", "pos": ["b"]})
    asked = ["Find what answers this.", "Who?"]
    write(tmp_path, "questions", {"query": asked, "pos": [LONG]})
    write(tmp_path, "health", *({"query": f"{n}?", "pos": [LONG]} for n in range(40)))
    found = questions(tmp_path)
    assert found == questions(tmp_path)
    assert {passage for passage, _ in found} == {LONG}
    heads = [question.partition("\n")[0] for _, question in found]
    assert sorted(heads) == sorted(["Who?", *(f"{n}?" for n in range(40))])
    wanting = sum("Answer with a few words" in question for _, question in found)
    assert 10 < wanting < 31  # half of 41


def test_an_answer_is_what_the_model_says_to_the_passage_and_the_question() -> None:
    model = Model()
    rows = list(answered(model, [(LONG, "Who came?"), (LONG, "Endless?")]))
    assert rows == [{"document": LONG, "query": "Who came?", "answer": "Anna."}, None]
    assert f"{LONG}\n\n{cached_question('Who came?')}" in model.prompts
