"""What requests for chats and for completions have in common: how tokens are chosen and sent."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema

from gritlite.serve.errors import invalid
from gritlite.serve.lists import Items

# checked by `biases_of`, which ends at the first wrong one; pydantic would tell of all
Biases = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "number"}}),
]
_MOST_DIGITS = 10  # of a token's id


class JsonSchema(BaseModel):
    """A schema that an answer follows."""

    schema_: dict[str, Any] | None = Field(None, alias="schema", description="The JSON schema.")


class ResponseFormat(BaseModel):
    """What an answer's text is."""

    type: str = Field(description="text, json_object or json_schema.")
    json_schema: JsonSchema | None = Field(None, description="For the type json_schema.")


class StreamOptions(BaseModel):
    """What a stream has beside the text."""

    include_usage: bool | None = Field(None, description="A last chunk that counts the tokens.")


class SamplingRequest(BaseModel):
    """The fields of both."""

    stream: bool | None = Field(None, description="Whether to send the answer as it is made.")
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2, description="0 takes the likeliest token.")
    top_p: float | None = Field(None, ge=0, le=1, description="Nucleus sampling.")
    top_k: int | None = Field(None, ge=0, description="As llama-server's; 0: all tokens.")
    min_p: float | None = Field(None, ge=0, le=1, description="As llama-server's.")
    repeat_penalty: float | None = Field(None, description="As llama-server's; 1: none.")
    frequency_penalty: float | None = Field(
        None, ge=-2, le=2, description="Taken from a token's logit for each time it was chosen."
    )
    presence_penalty: float | None = Field(
        None, ge=-2, le=2, description="Taken from the logit of a token that was chosen."
    )
    logit_bias: Biases | None = Field(
        None, description="By this model's token ids, what is added to a logit: -100 to 100."
    )
    seed: int | None = Field(None, description="Makes a random answer repeatable.")
    stop: str | Items[str] | None = Field(None, description="Texts that end the answer.")
    response_format: ResponseFormat | None = None


def biases_of(given: Mapping[str, Any] | None) -> dict[int, Any] | None:
    """`logit_bias` with its ids as numbers. Raises ApiError for a key that is none."""
    for key in given or ():
        digits = key.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS):
            problem = f"logit_bias has the key {key[:50]!r}: expected a token's id"
            raise invalid(problem, "logit_bias")
    return None if given is None else {int(key): bias for key, bias in given.items()}
