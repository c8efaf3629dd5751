"""`/tokenize` and `/detokenize`, as llama-server has them (llama.cpp's tools/server/README.md)."""

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from gritlite.runtime.model import GritLM
from gritlite.serve.dependencies import ReadyService
from gritlite.serve.errors import invalid
from gritlite.serve.lists import Items

router = APIRouter(tags=["tokens"])
MOST = 1 << 20  # characters: several times as many as any context has
_SHOWN = 1 << 12  # ids in one step, between which other threads go on


class TextToTokenize(BaseModel):
    """A text."""

    content: str = Field(description="The text. Nothing in it becomes a control token.")
    add_special: bool | None = Field(
        None, description="Whether to begin with BOS, where the model's inputs do."
    )


class TokenIds(BaseModel):
    """Token ids of the model's vocabulary."""

    tokens: Items[int] = Field(description="The ids.")


class Text(BaseModel):
    """A text."""

    content: str = Field(description="The text; bytes that are not UTF-8 are replaced.")


@router.post("/tokenize", response_model=TokenIds)
async def tokenize(body: TextToTokenize, service: ReadyService) -> Response:
    """The token ids of a text of at most 1,048,576 characters."""
    if len(body.content) > MOST:
        problem = f"content has {len(body.content):,} characters: expected at most {MOST:,}"
        raise invalid(problem, "content")

    def work(model: GritLM) -> bytes:
        tokenize = model.prompt_tokens if body.add_special else model.tokenize
        tokens = tokenize(body.content)
        parts = (tokens[i : i + _SHOWN] for i in range(0, len(tokens), _SHOWN))
        shown = ",".join(",".join(map(str, part)) for part in parts)
        return f'{{"tokens":[{shown}]}}'.encode()

    return Response(await service.in_thread(work), media_type="application/json")


@router.post("/detokenize")
async def detokenize(body: TokenIds, service: ReadyService) -> Text:
    """The text of token ids."""

    def work(model: GritLM) -> str:
        vocabulary = model.embedding_engine.vocabulary
        for number, token in enumerate(body.tokens):
            if not 0 <= token < vocabulary.size:
                problem = f"{token} is not a token id: expected 0 to {vocabulary.size - 1}"
                raise invalid(problem, f"tokens[{number}]")
        pieces = [vocabulary.piece(token, special=True) for token in body.tokens]
        return b"".join(pieces).decode("utf-8", "replace")

    return Text(content=await service.in_thread(work))
