"""The shapes of replies and errors, for the description of the interface (OpenAPI)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

REF = "#/components/schemas/"


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """OpenAI's envelope of errors."""

    error: ErrorDetail


class ModelObject(BaseModel):
    """A name that `model` may have."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"]
    data: list[ModelObject]


class FileObject(BaseModel):
    """An uploaded picture."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["processed"]


class Deleted(BaseModel):
    """An upload that is gone."""

    id: str
    object: Literal["file"]
    deleted: bool


class Health(BaseModel):
    """That the server is up."""

    status: Literal["ok"]


_SAID = {
    400: "The request cannot be used; `param` says which part of it.",
    401: "A valid key is needed.",
    403: "A page from elsewhere may not ask.",
    404: "There is no such model, file or trace.",
    408: "The body took too long.",
    413: "The body is too large.",
    415: "The body is of another type.",
    421: "The server is not asked under that name.",
    429: "All places are taken; `Retry-After` says when to try again.",
    502: "The model failed.",
    503: "The model is busy or away.",
    504: "The search took too long.",
}

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": said} for status, said in _SAID.items()
}


_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


def examples(model: str) -> dict[str, Any]:
    """Bodies of requests, by what they show."""
    picture = {"type": "image_url", "image_url": {"url": _PIXEL}}
    asked = {"role": "user", "content": [picture, {"type": "text", "text": "How many cubes are there?"}]}
    more = [asked, {"role": "assistant", "content": "2"}, {"role": "user", "content": "And spheres?"}]
    vote = {"method": "vote:4"}
    return {
        "a question": {"value": {"model": f"{model}@greedy", "messages": [asked]}},
        "a second one": {"value": {"model": model, "messages": more, "search": vote, "max_tokens": 400}},
        "a stream": {"value": {"model": model, "messages": [asked], "stream": True, "search": {"events": True}}},
    }


def schemas(*models: type[BaseModel]) -> dict[str, Any]:
    """Schemas of bodies that the app reads by itself, by name."""
    _, found = models_json_schema([(model, "validation") for model in models], ref_template=f"{REF}{{model}}")
    defined: dict[str, Any] = found["$defs"]
    return defined
