"""`/api/version`, `/api/tags`, `/api/ps` and `/api/show`: the model, by each of its names.

The addresses that change models are refused: the model is chosen when the server starts.
"""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from gritlite.modelfile.description import ModelDescription, describe
from gritlite.modelfile.fingerprint import sampled_fingerprint
from gritlite.runtime.model import GritLM
from gritlite.runtime.template import GRIT_TEMPLATE, shows_tools
from gritlite.serve.dependencies import AnyService, ReadyService
from gritlite.serve.errors import ApiError
from gritlite.serve.json_response import JsonResponse
from gritlite.serve.ollama.failures import FAILURES
from gritlite.serve.ollama.names import tagged, target_of

router = APIRouter(prefix="/api", tags=["Ollama"], responses=FAILURES)
# Ollama's that has this interface; clients refuse older ones, and so gritlite's own number
OLLAMA_VERSION = "0.9.0"
_NEVER = "9999-12-31T23:59:59Z"  # when the model is unloaded
_TEMPLATE = "tokenizer.chat_template"
_LONGEST = 16  # of lists: vocabularies are left out


class Version(BaseModel):
    """The version of the interface."""

    version: str = Field(description="Of Ollama, whose interface this is.")


class Details(BaseModel):
    """What kind of model it is."""

    parent_model: str = ""
    format: str = "gguf"
    family: str
    families: list[str]
    parameter_size: str = Field(description="As 7.2B.")
    quantization_level: str = Field(description="As Q8_0.")


class TaggedModel(BaseModel):
    """A name that the model can be called by."""

    name: str = Field(description="With a tag: latest, or query for texts that are queries.")
    model: str
    modified_at: str
    size: int = Field(description="Of the file, in bytes.")
    digest: str = Field(description="SHA-256 of the file's header and of samples of its weights.")
    details: Details


class TaggedModels(BaseModel):
    """All names."""

    models: list[TaggedModel]


class LoadedModel(TaggedModel):
    """The model in memory."""

    expires_at: str = Field(description="Never.")
    size_vram: int = Field(description="The file's size if all of it is on a GPU, else 0.")
    context_length: int = Field(description="Tokens of a chat.")


class LoadedModels(BaseModel):
    """The one model in memory."""

    models: list[LoadedModel]


class ShowRequest(BaseModel):
    """The model to show. Fields that are not listed are ignored."""

    model: str | None = Field(None, description="A name of /api/tags.")
    name: str | None = Field(None, description="The same, older.")


class ShownModel(BaseModel):
    """What the model's file tells."""

    modelfile: str = ""
    parameters: str = ""
    template: str = Field(description="The chat template, in Jinja.")
    details: Details
    model_info: dict[str, Any] = Field(description="The file's metadata; long lists are null.")
    capabilities: list[str] = Field(description="Of completion, tools and embedding.")
    modified_at: str


@router.get("/version")
async def version(service: AnyService) -> Version:  # noqa: ARG001
    """The version of Ollama whose interface this is."""
    return Version(version=OLLAMA_VERSION)


@router.get("/tags")
async def tags(service: ReadyService) -> TaggedModels:
    """The names that the model can be called by."""
    names = service.names.all()
    facts = await service.in_thread(_facts)
    return TaggedModels(models=[TaggedModel(**_named(name), **facts) for name in names])


@router.get("/ps")
async def loaded(service: ReadyService) -> LoadedModels:
    """The model in memory."""
    facts = await service.in_thread(_facts)
    model = service.model
    shown = LoadedModel(
        **_named(service.names.name),
        **facts,
        expires_at=_NEVER,
        size_vram=facts["size"] if model.embedding_engine.on_device else 0,
        context_length=model.context_length,
    )
    return LoadedModels(models=[shown])


@router.post("/show", response_model=ShownModel)
async def show(body: ShowRequest, service: ReadyService) -> Response:
    """What the model's file tells."""
    target_of(service.names, body.model or body.name)
    return JsonResponse((await service.in_thread(_shown)).model_dump())


def _named(name: str) -> dict[str, Any]:
    return {"name": tagged(name), "model": tagged(name)}


def _facts(model: GritLM) -> dict[str, Any]:
    return {
        "modified_at": _modified(model),
        "size": model.file.size,
        "digest": sampled_fingerprint(model.file),
        "details": _details(describe(model.file)),
    }


def _shown(model: GritLM) -> ShownModel:
    description = describe(model.file)
    template = str(model.file.metadata.get(_TEMPLATE, GRIT_TEMPLATE))
    capabilities = ["embedding"]
    if description.generates and not description.embeds_only:
        tools = ["tools"] if shows_tools(template) else []
        capabilities = ["completion", *tools, *capabilities]
    return ShownModel(
        template=template,
        details=_details(description),
        model_info=_information(model, description),
        capabilities=capabilities,
        modified_at=_modified(model),
    )


def _details(description: ModelDescription) -> Details:
    family = description.architecture
    return Details(
        family=family,
        families=[family],
        parameter_size=_short(description.parameters),
        quantization_level=(description.file_type or "unknown").upper(),
    )


def _short(parameters: int) -> str:
    """A number of parameters as Ollama writes it."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= size:
            return f"{parameters / size:.1f}{letter}"
    return str(parameters)


def _information(model: GritLM, description: ModelDescription) -> dict[str, Any]:
    """The metadata as JSON, with the number of parameters, which Ollama adds."""
    shown: dict[str, Any] = {"general.parameter_count": description.parameters}
    for key, value in model.file.metadata.items():
        if key != _TEMPLATE:
            shown[key] = _plain(value)
    return shown


def _plain(value: Any) -> Any:
    """A value of the metadata as JSON has it: null for long lists and what is no number."""
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if len(value) > _LONGEST:
        return None
    return [_plain(each) for each in (value if isinstance(value, list) else value.tolist())]


def _modified(model: GritLM) -> str:
    written = datetime.fromtimestamp(model.path.stat().st_mtime, UTC)
    return written.isoformat().replace("+00:00", "Z")


@router.post("/pull", response_model=None)
@router.post("/push", response_model=None)
@router.post("/create", response_model=None)
@router.post("/copy", response_model=None)
@router.delete("/delete", response_model=None)
async def change(service: AnyService) -> Response:
    """Refuse to change models."""
    raise ApiError(
        400,
        f"this server has one model, {service.names.name}, which is chosen when it starts: models "
        "cannot be pulled, pushed, created, copied or deleted",
        code="unsupported",
    )
