"""LangChain's chat model: invoke, stream, batch, their async forms, and structured output."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from operator import itemgetter
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import PrivateAttr

from gritlite.errors import UsageError
from gritlite.integrations.chosen_options import chosen_options
from gritlite.integrations.langchain.messages import as_chat, ending
from gritlite.integrations.shared_models import shared_model
from gritlite.integrations.waiting import pieces
from gritlite.runtime.answer import warn_dropped
from gritlite.runtime.any_model import AnyAnswer, AnyModel


class ChatGritLM(BaseChatModel):  # type: ignore[misc]
    r"""Chats with `model`, a `GritLM` or a model's name.

    The other fields are gritlite's generation options; None means its own default (see
    `gritlite.ChatOptions`). Calls take them too, and `grammar` or `json_schema`:
    `chat.invoke(messages, max_tokens=50, stop=["\n"])`. An answer's `usage_metadata` counts
    tokens, and its `response_metadata` holds `finish_reason`: "stop", "length" (also where the
    context is full), or "loop". A stream that is closed, and a task that is cancelled, end the
    answer within one token. Raises as `GritLM`, and in use as its `chat`.
    """

    model: AnyModel | str | Path = "default"
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

    @property
    def _llm_type(self) -> str:
        return "gritlite"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What LangChain's caches tell models apart by."""
        return {"model": str(self._loaded.path), **chosen_options(self, {})}

    def _get_ls_params(self, stop: list[str] | None = None, **options: Any) -> Any:
        """What LangChain's traces call the model."""
        known = super()._get_ls_params(stop=stop, **options)
        return {"ls_model_name": str(self._loaded.path), **known, "ls_provider": "gritlite"}

    def get_token_ids(self, text: str) -> list[int]:
        """The ids of a plain text's tokens."""
        return self._loaded.tokenize(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """The number of tokens that an answer to the messages would read."""
        if tools:
            raise _no_tools()
        return len(self._loaded.chat_tokens(as_chat(messages)))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,  # noqa: ARG002
        **options: Any,
    ) -> ChatResult:
        with self._answer(messages, stop, options) as answer:
            for _ in answer:
                pass
        return self._result(answer)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,  # noqa: ARG002
        **options: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with self._answer(messages, stop, options) as answer:
            for piece in answer:
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        yield self._last_chunk(answer)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,  # noqa: ARG002
        **options: Any,
    ) -> ChatResult:
        answer = await asyncio.to_thread(self._answer, messages, stop, options)
        async with aclosing(pieces(answer)) as stream:
            async for _ in stream:
                pass
        return self._result(answer)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,  # noqa: ARG002
        **options: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        answer = await asyncio.to_thread(self._answer, messages, stop, options)
        async with aclosing(pieces(answer)) as stream:
            async for piece in stream:
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        yield self._last_chunk(answer)

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Any:  # noqa: ARG002
        """Raise UsageError: gritlite does not call tools."""
        raise _no_tools()

    def with_structured_output(
        self,
        schema: Mapping[str, Any] | type,
        *,
        include_raw: bool = False,
        **options: Any,
    ) -> Any:
        """Return a runnable whose answers are valid by a JSON schema, held by a grammar.

        `schema` is a pydantic class, of which the answer is an instance, or a TypedDict or a
        JSON schema, where it is a mapping. `include_raw` returns a mapping of `raw`, `parsed`
        and `parsing_error`. `method` and `strict`, which other models take, change nothing.
        Raises UsageError for other options, and for a schema that no grammar can be written
        for (docs/schemas.md).
        """
        unknown = options.keys() - {"method", "strict"}
        if unknown:
            raise UsageError(f"with_structured_output has no option {min(unknown)!r}")
        json_schema = convert_to_json_schema(schema)
        model = self.bind(
            json_schema=json_schema,
            ls_structured_output_format={
                "kwargs": {"method": "json_schema"},
                "schema": json_schema,
            },
        )
        parser = (
            PydanticOutputParser(pydantic_object=schema)
            if is_basemodel_subclass(schema)
            else JsonOutputParser()
        )
        if not include_raw:
            return model | parser
        parsed = RunnablePassthrough.assign(
            parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
        )
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=model) | parsed.with_fallbacks(
            [failed], exception_key="parsing_error"
        )

    def _answer(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> AnyAnswer:
        options = chosen_options(self, given if stop is None else {**given, "stop": stop})
        return self._loaded.chat(as_chat(messages), stream=True, **options)

    def _result(self, answer: AnyAnswer) -> ChatResult:
        warn_dropped(answer.dropped, self._loaded.context_length)
        message = AIMessage(content=answer.text, **ending(answer, self._loaded.path))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _last_chunk(self, answer: AnyAnswer) -> ChatGenerationChunk:
        warn_dropped(answer.dropped, self._loaded.context_length)
        message = AIMessageChunk(
            content="", chunk_position="last", **ending(answer, self._loaded.path)
        )
        return ChatGenerationChunk(message=message)


def _no_tools() -> UsageError:
    return UsageError(
        "gritlite calls no tools: ask for an answer of a JSON schema with with_structured_output"
    )
