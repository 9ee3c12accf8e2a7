"""The HTTP interface: OpenAI's paths, health, metrics, and the page."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from stepsight.errors import StepsightError
from stepsight.records import Trace
from stepsight.serving.chat_requests import ChatRequest
from stepsight.serving.chat_stream import ChatStream
from stepsight.serving.described import (
    ERRORS,
    REF,
    Deleted,
    FileObject,
    Health,
    ModelList,
    ModelObject,
    examples,
    schemas,
)
from stepsight.serving.gate import BODY_READ, Access, Gate
from stepsight.serving.methods import SEPARATOR
from stepsight.serving.picture_shelf import Upload
from stepsight.serving.refusals import Refused, invalid, refusal_of
from stepsight.serving.searching import while_connected
from stepsight.serving.service import Service
from stepsight.serving.tabletop import MOST_SEED, DrawnScene, SplitName, TruthOfCandidates, drawn_scene, truth_of

PAGE = Path(str(files("stepsight.serving") / "page"))
"""Static files of the page, `index.html` at `/`."""

_DRAWN_AT_ONCE = 2
_CHAT_BODY = {"required": True, "content": {"application/json": {"schema": {"$ref": f"{REF}ChatRequest"}}}}
_CHAT_REPLY = {
    "description": "A completion, or a stream of its chunks.",
    "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {}}},
}


def create_app(service: Service, access: Access | None = None, *, page: Path = PAGE) -> FastAPI:
    """The app of one server.

    Args:
        service: what answers; closed when the app shuts down.
        access: who may ask; anybody, unless given.
        page: folder of the page.
    """
    access = access or Access()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.aclose()

    # The pages that show an interface's description load scripts from elsewhere.
    app = FastAPI(title="stepsight", lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False)
    _chat(app, service)
    _models(app, service)
    _files(app, service)
    _traces(app, service)
    _tabletop(app)
    _watching(app, service)
    _refusals(app)
    _page(app, page)
    app.add_middleware(Gate, access=access, limits=service.limits, answered=service.metrics.answered)
    if access.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(access.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After", "X-Request-Id"],
        )
    _describe(app, service)
    return app


def _chat(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/chat/completions",
        summary="Answer the last message of a conversation about a picture",
        responses={200: _CHAT_REPLY, **ERRORS},
        openapi_extra={"requestBody": _CHAT_BODY},
        response_class=JSONResponse,
    )
    async def chat(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "the body must be application/json", "unsupported_media_type")
        with ExitStack() as held:
            lease = held.enter_context(service.shelf.lease())
            job = await service.read(b"".join([chunk async for chunk in request.stream()]), lease)
            request.scope[BODY_READ]()
            if job.request.stream:
                # The pictures are held as long as the stream.
                return ChatStream(service, job, held.pop_all())
            return JSONResponse(await while_connected(service.answer(job), request.receive))


def _models(app: FastAPI, service: Service) -> None:
    started = int(time.time())

    def listed(form: str) -> dict[str, Any]:
        return {"id": form, "object": "model", "created": started, "owned_by": "stepsight"}

    @app.get(
        "/v1/models", summary="The models, and the searches that they can be asked for with", response_model=ModelList
    )
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [listed(form) for form in service.catalogue.forms()]}

    @app.get("/v1/models/{model}", summary="One of them", response_model=ModelObject, responses=ERRORS)
    async def model(model: str) -> dict[str, Any]:
        try:
            served, method = service.catalogue.find(model)
            served.planned(method)
        except (LookupError, StepsightError):
            raise Refused(404, "the model does not exist", "model_not_found", "model") from None
        return listed(model)


def _files(app: FastAPI, service: Service) -> None:
    def described(upload: Upload) -> dict[str, Any]:
        return {
            "id": upload.id,
            "object": "file",
            "bytes": upload.picture.size,
            "created_at": upload.created,
            "expires_at": upload.created + int(service.limits.upload_seconds),
            "filename": upload.filename,
            "purpose": "vision",
            "status": "processed",
        }

    @app.post("/v1/files", summary="Upload a picture to ask about", response_model=FileObject, responses=ERRORS)
    async def upload(file: Annotated[UploadFile, File()], purpose: Annotated[str, Form()] = "vision") -> dict[str, Any]:
        if purpose not in ("vision", "user_data"):
            raise invalid("files are taken for the purpose `vision` only", "purpose")
        try:
            return described(await service.shelf.upload(await file.read(), (file.filename or "picture")[:200]))
        except StepsightError as error:
            refused = refusal_of(error, {})
            refused.param = "file"
            raise refused from None

    @app.get("/v1/files/{file_id}", summary="An upload", response_model=FileObject, responses=ERRORS)
    async def found(file_id: str) -> dict[str, Any]:
        return described(service.shelf.uploaded(file_id))

    @app.delete("/v1/files/{file_id}", summary="Let go of an upload", response_model=Deleted, responses=ERRORS)
    async def discard(file_id: str) -> dict[str, Any]:
        service.shelf.discard(file_id)
        return {"id": file_id, "object": "file", "deleted": True}


def _traces(app: FastAPI, service: Service) -> None:
    @app.get("/v1/traces/{trace_id}", summary="A search that was kept", response_class=JSONResponse, responses=ERRORS)
    async def trace(trace_id: str) -> Response:
        return Response(service.traces.find(trace_id).json, media_type="application/json")

    @app.get("/v1/traces/{trace_id}/page", summary="The same as one page of HTML", responses=ERRORS)
    async def trace_page(trace_id: str) -> Response:
        # The page brings a policy of its own, which knows the hashes of its style and script.
        headers = {"Content-Security-Policy": "frame-ancestors 'none'"}
        return Response(service.traces.find(trace_id).html, media_type="text/html; charset=utf-8", headers=headers)

    @app.get(
        "/v1/traces/{trace_id}/truth",
        summary="Which candidates of a search about a drawn picture are true of it",
        response_model=TruthOfCandidates,
        responses=ERRORS,
    )
    async def truth(trace_id: str, split: SplitName, seed: Annotated[int, Query(ge=0, le=MOST_SEED)]) -> object:
        trace = Trace.model_validate_json(service.traces.find(trace_id).json)
        return await asyncio.to_thread(truth_of, trace, split, seed)


def _tabletop(app: FastAPI) -> None:
    drawing = asyncio.Semaphore(_DRAWN_AT_ONCE)

    @app.get(
        "/v1/tabletop",
        summary="Draw a picture, with a question whose answer is known",
        response_model=DrawnScene,
        responses=ERRORS,
    )
    async def tabletop(split: SplitName = "test", seed: Annotated[int, Query(ge=0, le=MOST_SEED)] = 0) -> DrawnScene:
        async with drawing:
            return await asyncio.to_thread(drawn_scene, split, seed)


def _watching(app: FastAPI, service: Service) -> None:
    @app.get("/health", summary="Whether this server is up", response_model=Health)
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", summary="Numbers for Prometheus", response_class=Response, responses={401: ERRORS[401]})
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _page(app: FastAPI, folder: Path) -> None:
    """A path for each of its files: a folder mounted at `/` would answer wrong methods and paths of the interface."""
    static = StaticFiles(directory=folder)

    def serve(path: str, name: str) -> None:
        async def file(request: Request) -> Response:
            return await static.get_response(name, request.scope)

        app.add_route(path, file, methods=["GET"], include_in_schema=False)

    for found in sorted(folder.iterdir()):
        if found.is_file():
            serve(f"/{found.name}", found.name)
    serve("/", "index.html")


def _refusals(app: FastAPI) -> None:
    """All refusals in one form."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return JSONResponse(error.body, error.status, error.all_headers)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, Refused):
            # The gate refused the body while it was being read.
            return await refused(request, error.__cause__)
        said = {404: "there is no such path", 405: "this path takes no such method"}
        message = said.get(error.status_code, "the body cannot be read")
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_body")
        body = Refused(error.status_code, message, code).body
        return JSONResponse(body, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> Response:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"][1:])
        said = Refused(
            400, f"{where}: {fault['msg']}" if where else str(fault["msg"]), str(fault["type"]), where or None
        )
        return JSONResponse(said.body, said.status)


def _describe(app: FastAPI, service: Service) -> None:
    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, routes=app.routes)
            bodies = schemas(ChatRequest)
            names = "|".join(re.escape(name) for name in service.catalogue.models)
            bodies["ChatRequest"]["properties"]["model"] |= {
                "pattern": f"^({names})({SEPARATOR}.+)?$",
                "examples": service.catalogue.forms(),
            }
            found["components"]["schemas"] |= bodies
            body = found["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]
            body["examples"] = examples(next(iter(service.catalogue.models)))
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
