"""LlamaIndex's LLM: chat and complete, streamed or not, and their async forms."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
)
from llama_index.core.constants import DEFAULT_NUM_OUTPUTS
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from pydantic import Field, PrivateAttr

from gritlite.integrations.chosen_options import chosen_options
from gritlite.integrations.llama_index.messages import as_chat, chat_response, completion_response
from gritlite.integrations.shared_models import shared_model
from gritlite.integrations.waiting import pieces
from gritlite.runtime.answer import warn_dropped
from gritlite.runtime.any_model import AnyAnswer, AnyModel

_Response = TypeVar("_Response", ChatResponse, CompletionResponse)
_Respond = Callable[..., _Response]


class GritLMLLM(CustomLLM):  # type: ignore[misc]
    """Answers with `model`, a `GritLM` or a model's name.

    The other fields are gritlite's generation options; None means its own default (see
    `gritlite.ChatOptions`). Calls take them too, and `grammar` or `json_schema`:
    `llm.chat(messages, max_tokens=50)`. `complete` asks its prompt as a user's message;
    with `formatted=True` the model continues the prompt as it stands. A response's `raw` holds
    `usage` and `finish_reason`: "stop", "length" (also where the context is full), or "loop".
    A stream that is closed, and a task that is cancelled, end the answer within one token.
    Raises as `GritLM`, and in use as its `chat`.
    """

    model: AnyModel | str | Path = Field(default="default", exclude=True)
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | str | None = None
    seed: int | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[int, float] | None = None
    stop_loops: bool | None = None

    _loaded: AnyModel = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Load the model, or take the loaded one."""
        super().model_post_init(context)
        self._loaded = shared_model(self.model)

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex calls this class in its records."""
        return "GritLMLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """The context's length in tokens, and that this model chats and calls no functions."""
        return LLMMetadata(
            context_window=self._loaded.context_length,
            num_output=self.max_tokens or DEFAULT_NUM_OUTPUTS,
            is_chat_model=True,
            is_function_calling_model=False,
            model_name=str(self._loaded.path),
        )

    @llm_chat_callback()  # type: ignore[untyped-decorator]
    def chat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponse:
        """Answer a chat."""
        return self._whole(self._chat(messages, options), chat_response)

    @llm_chat_callback()  # type: ignore[untyped-decorator]
    def stream_chat(
        self, messages: Sequence[ChatMessage], **options: Any
    ) -> Iterator[ChatResponse]:
        """Answer a chat, piece by piece."""
        return self._streamed(self._chat(messages, options), chat_response)

    @llm_completion_callback()  # type: ignore[untyped-decorator]
    def complete(self, prompt: str, formatted: bool = False, **options: Any) -> CompletionResponse:
        """Answer a prompt."""
        return self._whole(self._complete(prompt, formatted, options), completion_response)

    @llm_completion_callback()  # type: ignore[untyped-decorator]
    def stream_complete(
        self, prompt: str, formatted: bool = False, **options: Any
    ) -> Iterator[CompletionResponse]:
        """Answer a prompt, piece by piece."""
        return self._streamed(self._complete(prompt, formatted, options), completion_response)

    @llm_chat_callback()  # type: ignore[untyped-decorator]
    async def achat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponse:
        """`chat` in a thread."""
        start = partial(self._chat, messages, options)
        return await self._whole_later(start, chat_response)

    @llm_chat_callback()  # type: ignore[untyped-decorator]
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **options: Any
    ) -> AsyncIterator[ChatResponse]:
        """`stream_chat` in threads."""
        answer = await asyncio.to_thread(self._chat, messages, options)
        return self._streamed_later(answer, chat_response)

    @llm_completion_callback()  # type: ignore[untyped-decorator]
    async def acomplete(
        self, prompt: str, formatted: bool = False, **options: Any
    ) -> CompletionResponse:
        """`complete` in a thread."""
        start = partial(self._complete, prompt, formatted, options)
        return await self._whole_later(start, completion_response)

    @llm_completion_callback()  # type: ignore[untyped-decorator]
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **options: Any
    ) -> AsyncIterator[CompletionResponse]:
        """`stream_complete` in threads."""
        answer = await asyncio.to_thread(self._complete, prompt, formatted, options)
        return self._streamed_later(answer, completion_response)

    def _chat(self, messages: Sequence[ChatMessage], options: dict[str, Any]) -> AnyAnswer:
        return self._loaded.chat(as_chat(messages), stream=True, **chosen_options(self, options))

    def _complete(self, prompt: str, formatted: bool, options: dict[str, Any]) -> AnyAnswer:
        if formatted:
            return self._loaded.generate(prompt, stream=True, **chosen_options(self, options))
        messages = [{"role": "user", "content": prompt}]
        return self._loaded.chat(messages, stream=True, **chosen_options(self, options))

    def _whole(self, answer: AnyAnswer, respond: _Respond[_Response]) -> _Response:
        with answer:
            for _ in answer:
                pass
        return self._ended(answer, respond)

    def _streamed(self, answer: AnyAnswer, respond: _Respond[_Response]) -> Iterator[_Response]:
        with answer:
            for piece in answer:
                yield respond(answer, piece)
        yield self._ended(answer, respond)

    async def _whole_later(
        self, start: Callable[[], AnyAnswer], respond: _Respond[_Response]
    ) -> _Response:
        answer = await asyncio.to_thread(start)
        async with aclosing(pieces(answer)) as stream:
            async for _ in stream:
                pass
        return self._ended(answer, respond)

    async def _streamed_later(
        self, answer: AnyAnswer, respond: _Respond[_Response]
    ) -> AsyncIterator[_Response]:
        async with aclosing(pieces(answer)) as stream:
            async for piece in stream:
                yield respond(answer, piece)
        yield self._ended(answer, respond)

    def _ended(self, answer: AnyAnswer, respond: _Respond[_Response]) -> _Response:
        warn_dropped(answer.dropped, self._loaded.context_length)
        return respond(answer, "")
