"""The questions of a chat session and their answers at the terminal, with their notices.

The messages are kept by `chat_session`; answers come from `chat_respondents`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from gritlite.cli.commands.chat_model import ChatModel
from gritlite.cli.commands.chat_respondents import print_sources
from gritlite.cli.commands.chat_session import Session
from gritlite.cli.shared.advice import context_advice
from gritlite.cli.shared.answers import (
    AnswerStream,
    Course,
    print_answer,
    print_cut_notice,
    print_dropped_notice,
)
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.progress import waiting
from gritlite.errors import UsageError
from gritlite.system.wording import counted

if TYPE_CHECKING:
    from gritlite.runtime.model import GritLM


@dataclass(frozen=True)
class Statistics:
    """What an answer took: numbers of tokens, and its course."""

    prompt: int
    generated: int
    context: int
    context_length: int
    course: Course

    def rows(self) -> Iterator[tuple[str, str]]:
        """What is shown of it."""
        seconds = self.course.end - self.course.first
        speed = f", {(self.generated - 1) / seconds:,.1f} a second" if self.generated > 1 else ""
        yield "answer", counted(self.generated, "token") + speed
        share = self.context / self.context_length
        yield "prompt", f"{counted(self.prompt, 'token')}, {self.course.read:,} of them new"
        yield "first token", f"after {self.course.first:.2f} s"
        yield "context", f"{self.context:,} of {self.context_length:,} tokens ({share:.0%})"


class Conversation:
    """Asks a model, and prints its answers; `wrap` between words.

    `last` is what the last answer took.
    """

    def __init__(self, chat_model: ChatModel, session: Session, *, wrap: bool = True) -> None:
        self.chat_model = chat_model
        self.session = session
        self.last: Statistics | None = None
        self._wrap = wrap
        self._dropped = 0

    @property
    def _model(self) -> "GritLM":
        return self.chat_model.model

    def forget(self) -> None:
        """Note that the messages are others now."""
        self._dropped = 0

    def ask(self, text: str, *, unanswered: str = "the question is removed") -> bool:
        """Answer a question; whether there is an answer. Otherwise the question is removed.

        `unanswered` says what an answer that was stopped before its beginning changes.
        """
        session = self.session
        session.ask(text)
        answered = False
        try:
            with context_advice(self._model), self._begin_answer() as answer:
                course = print_answer(answer, self._model, wrap=self._wrap)
            answered = bool(answer.text) or answer.finish_reason != "cancelled"
        except KeyboardInterrupt:
            click.echo()
        finally:
            if not answered:
                session.withdraw()
        if not answered:
            print_notice(f"stopped before the answer began: {unanswered}")
            return False
        session.answer(answer.text)
        self.last = self._statistics(answer, course)
        print_sources(self.chat_model.respondent)
        self._notify(answer)
        return True

    def _begin_answer(self) -> AnswerStream:
        with waiting("preparing the answer"):  # a store is searched, and its states are loaded
            return self.chat_model.respondent.answer(self.session.messages)

    def ask_again(self, text: str) -> None:
        """Ask a question in place of the last one. The last one stays if there is no answer."""
        before = list(self.session.messages)
        self.last_question()
        answered = False
        try:
            self.session.withdraw_turn()
            answered = self.ask(text, unanswered="the last question and its answer stay")
        finally:
            if not answered:
                self.session.messages = before

    def last_question(self) -> str:
        """The user's last message. Raises UsageError if there is none."""
        question = self.session.last_question()
        if question is None:
            raise UsageError("no question has been asked yet")
        return question

    def _statistics(self, answer: AnswerStream, course: Course) -> Statistics:
        return Statistics(
            prompt=answer.prompt_tokens,
            generated=len(answer.generated),
            context=answer.context_tokens,
            context_length=self._model.context_length,
            course=course,
        )

    def _notify(self, answer: AnswerStream) -> None:
        """Say what the user should know about an answer."""
        if answer.finish_reason == "cancelled":
            print_notice("stopped")
        if answer.dropped > self._dropped:
            print_dropped_notice(answer.dropped, self._model)
        self._dropped = answer.dropped
        print_cut_notice(answer, self._model, option="/set max_tokens")
