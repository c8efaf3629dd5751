"""OpenAI's first form of tools, `functions` and `function_call`, as tools.

An answer in this form has one call at most, without an id; its result is a message of the role
`function`.
"""

from collections.abc import Sequence

from gritlite.serve.errors import invalid
from gritlite.serve.openai.chat_request import ChatMessage, ChatRequest, RequestedCall
from gritlite.serve.openai.tool_request import (
    ChosenFunction,
    NamedChoice,
    OfferedTools,
    ToolDefinition,
    called_arguments,
    offered_tools,
)


def is_legacy(request: ChatRequest) -> bool:
    """Whether a request has functions in place of tools."""
    return bool(request.functions)


def offered_functions(request: ChatRequest) -> OfferedTools:
    """The functions of a request as tools. Raises ApiError."""
    functions, choice = request.functions or [], request.function_call
    if request.tools or request.tool_choice is not None:
        raise invalid("functions is the old form of tools: send one of them", "functions")
    tools = [ToolDefinition(type="function", function=function) for function in functions]
    if isinstance(choice, ChosenFunction):
        if choice.name not in {function.name for function in functions}:
            problem = f"function_call: there is no function {choice.name!r}"
            raise invalid(problem, "function_call")
        return offered_tools(tools, NamedChoice(type="function", function=choice), only_one=True)
    if choice not in (None, "none", "auto"):
        problem = f"function_call is {choice!r}: expected none, auto or a function"
        raise invalid(problem, "function_call")
    return offered_tools(tools, choice, only_one=True)


def with_tool_calls(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The messages with calls of functions, and their results, as those of tools.

    Raises ApiError.
    """
    found, last = list[ChatMessage](), ""
    for number, message in enumerate(messages):
        change: dict[str, object] = {}
        if message.function_call is not None:
            place = f"messages[{number}].function_call.arguments"
            called_arguments(message.function_call.arguments, place)
            last = f"call{number:05}"  # nine letters and digits: see `tool_calls`
            change["tool_calls"] = [RequestedCall(id=last, function=message.function_call)]
        elif message.role == "function":
            change |= {"role": "tool", "tool_call_id": last}
        found.append(message.model_copy(update=change))
    return found
