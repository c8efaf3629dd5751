"""The body of `/v1/completions`, and what `GritLM.generate` takes of it."""

from pydantic import Field

from gritlite.runtime.options import ChatOptions
from gritlite.serve.errors import invalid
from gritlite.serve.lists import Items
from gritlite.serve.openai.chat_options import given, sampling_of
from gritlite.serve.openai.choices import checked_count
from gritlite.serve.openai.sampling_request import SamplingRequest
from gritlite.serve.openai.texts import only_texts

_DEFAULT_TOKENS = 16  # OpenAI's


class CompletionRequest(SamplingRequest):
    """Raw prompts to continue, without a chat template. Unlisted fields are ignored."""

    prompt: str | Items[str] | Items[int] | Items[Items[int]] = Field(
        description="A text, or several. Nothing in it becomes a control token. Token ids are "
        "refused: they would be of another model's vocabulary."
    )
    model: str | None = Field(None, description="A name of /v1/models.")
    max_tokens: int | None = Field(None, ge=1, description="Most tokens of an answer; null: 16.")
    n: int | None = Field(None, description="How many answers to each prompt.")
    best_of: int | None = Field(None, description="n or null: all answers are given.")
    logprobs: int | None = Field(
        None, ge=0, le=20, description="Log-probabilities of so many likeliest tokens too."
    )
    echo: bool | None = Field(None, description="Whether the text begins with the prompt.")
    suffix: str | None = Field(None, description="Empty or null: nothing is filled in.")


def prompts_of(request: CompletionRequest) -> list[str]:
    """The prompts. Raises ApiError for token ids, for none or too many, and what is refused."""
    prompts = only_texts(request.prompt, "prompt")
    if not prompts:
        raise invalid("prompt is empty: expected at least one text", "prompt")
    count = checked_count(request.n, len(prompts))
    if request.best_of not in (None, count):
        raise invalid("best_of is not supported: all answers are given", "best_of", "unsupported")
    if request.suffix:
        raise invalid("suffix is not supported: leave it out", "suffix", "unsupported")
    if request.echo and request.logprobs is not None:
        problem = "echo with logprobs is not supported: a prompt's tokens have none here"
        raise invalid(problem, "echo", "unsupported")
    return prompts


def options_of(request: CompletionRequest, number: int) -> ChatOptions:
    """The options for the answer of that number to each prompt. Raises ApiError."""
    return given(
        {
            **sampling_of(request, number),
            "max_tokens": request.max_tokens or _DEFAULT_TOKENS,
            "top_logprobs": request.logprobs,
        }
    )
