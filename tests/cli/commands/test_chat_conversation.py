"""Questions and answers of a session, with a respondent that is told what to say."""

from types import SimpleNamespace

import pytest

from gritlite.cli.commands.chat_conversation import Conversation, Statistics
from gritlite.cli.commands.chat_session import Session
from gritlite.cli.shared.answers import Course
from gritlite.errors import InputTooLongError, UsageError


class FakeAnswer:
    dropped = new_tokens = 0
    prompt_tokens, context_tokens = 10, 12

    def __init__(self, text, finish_reason, dropped=0):
        self.text, self.finish_reason, self.dropped = text, finish_reason, dropped
        self.generated = [1] * len(text)
        self._pieces = iter([text] if text else [])

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._pieces)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class InterruptedAnswer(FakeAnswer):
    """Ctrl-C comes while its prompt is read."""

    def __init__(self):
        super().__init__("", None)

    def __next__(self):
        raise KeyboardInterrupt


class FakeRespondent:
    """Gives the answers of a list, or raises them."""

    defaults = {}  # noqa: RUF012

    def __init__(self, *answers):
        self._answers = list(answers)

    def answer(self, messages):
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sources(self):
        return ""

    def remark(self):
        return ""


def conversation(*answers):
    model = SimpleNamespace(evaluated=0, context_length=64, longest_context=64)
    return Conversation(
        SimpleNamespace(model=model, respondent=FakeRespondent(*answers)), Session()
    )


def contents(session):
    return [message["content"] for message in session.messages]


STOPPED = ("", "cancelled")


@pytest.mark.parametrize("stopped", [FakeAnswer(*STOPPED), InterruptedAnswer()])
def test_a_question_without_an_answer_is_removed(stopped, capsys):
    chat = conversation(FakeAnswer("Yes", "stop"), stopped)
    assert chat.ask("First")
    assert not chat.ask("Second")
    assert contents(chat.session) == ["First", "Yes"]
    assert "before the answer began: the question is removed" in capsys.readouterr().err


@pytest.mark.parametrize("failure", [FakeAnswer(*STOPPED), InputTooLongError("too long")])
def test_a_turn_that_is_not_replaced_stays(failure, capsys):
    chat = conversation(FakeAnswer("Yes", "stop"), failure)
    chat.ask("First")
    if isinstance(failure, Exception):
        with pytest.raises(InputTooLongError):
            chat.ask_again("Other")
    else:
        chat.ask_again("Other")
        assert "the last question and its answer stay" in capsys.readouterr().err
    assert contents(chat.session) == ["First", "Yes"]


def test_a_turn_is_replaced():
    chat = conversation(*(FakeAnswer(text, "stop") for text in ("Yes", "No", "Perhaps")))
    chat.ask("First")
    chat.ask("Second")
    chat.ask_again("Third")
    assert contents(chat.session) == ["First", "Yes", "Third", "Perhaps"]


def test_without_a_question():
    with pytest.raises(UsageError, match="no question has been asked yet"):
        conversation().last_question()
    chat = conversation()
    chat.session.load_json('[{"role": "assistant", "content": "Hello"}]')
    with pytest.raises(UsageError, match="no question has been asked yet"):
        chat.ask_again("Hello")


def test_dropped_messages_are_told_when_they_grow(capsys):
    chat = conversation(*(FakeAnswer("Yes", "stop", dropped=count) for count in (2, 2, 4)))
    said = []
    for question in ("First", "Second", "Third"):
        chat.ask(question)
        said.append("left out; it cannot be longer" in capsys.readouterr().err)
    assert said == [True, False, True]


def test_statistics():
    shown = dict(
        Statistics(
            prompt=1203,
            generated=58,
            context=1261,
            context_length=4096,
            course=Course(first=0.42, end=2.52, read=153),
        ).rows()
    )
    assert shown == {
        "answer": "58 tokens, 27.1 a second",
        "prompt": "1,203 tokens, 153 of them new",
        "first token": "after 0.42 s",
        "context": "1,261 of 4,096 tokens (31%)",
    }
    one = Statistics(1, 1, 2, 64, Course(0.1, 0.1, 1))
    assert dict(one.rows())["answer"] == "1 token"
