"""A server inside the test's own event loop, for what needs no socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from stepsight.assembly import LoadedModel, SearchChoice
from stepsight.engines.scripted import Say, ScriptedEngine
from stepsight.model_folders import ModelCard
from stepsight.protocols import Engine
from stepsight.serving.app import create_app
from stepsight.serving.gate import Access
from stepsight.serving.limits import Limits
from stepsight.serving.served import Catalogue, ServedModel
from stepsight.serving.service import Service
from stepsight.testing.model import rated, written
from stepsight.testing.processes import messages, png


class Client:
    """Asks a server in this process."""

    def __init__(self, http: httpx2.AsyncClient, service: Service, engine: Engine) -> None:
        self.http, self.service, self.engine = http, service, engine

    async def ask(self, **body: Any) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a chat request about a red picture, unless told otherwise."""
        whole = {"model": "scripted", "messages": messages(png()), **body}
        reply = await self.http.post("/v1/chat/completions", json=whole)
        return reply.status_code, reply.json()

    async def send(self, body: Any, path: str = "/v1/chat/completions", **headers: str) -> httpx2.Response:
        """Post bytes, or what yields bytes, as they are; as JSON unless told otherwise."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, content=body, headers={"Content-Type": "application/json", **named})

    async def answer(self, **body: Any) -> dict[str, Any]:
        status, reply = await self.ask(**body)
        assert status == 200, reply
        return reply

    async def refused(self, **body: Any) -> dict[str, Any]:
        """The error of a request that must be refused as the client's own fault."""
        status, reply = await self.ask(**body)
        assert status == 400, reply
        assert set(reply) == {"error"}
        error: dict[str, Any] = reply["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
        return error

    async def chunks(self, **body: Any) -> list[dict[str, Any]]:
        """The chunks of a stream."""
        whole = {"model": "scripted", "messages": messages(png()), "stream": True, **body}
        reply = await self.http.post("/v1/chat/completions", json=whole)
        assert reply.status_code == 200, reply.text
        *events, last, end = reply.text.split("\n\n")
        assert (last, end) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events if not event.startswith(":")]


def text_of(chunks: Sequence[dict[str, Any]], field: str) -> str:
    """All text of a field in the chunks of a stream."""
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk.get("choices")]
    return "".join(delta.get(field) or "" for delta in deltas)


@asynccontextmanager
async def serving(
    write: Say = written,
    *,
    engine: Engine | None = None,
    plan: SearchChoice | None = None,
    access: Access | None = None,
    limits: Limits | None = None,
    app: Callable[[Any], Any] = lambda app: app,
    card: dict[str, Any] | None = None,
    **more: Any,
) -> AsyncIterator[Client]:
    """A server whose model writes by `write`; `more` goes to the service."""
    engine = engine or ScriptedEngine(write, scores=rated)
    model = LoadedModel(
        engine, ModelCard.model_validate({"name": "scripted", "judge_prompts": "short-2", **(card or {})})
    )
    service = Service(Catalogue([ServedModel("scripted", model, plan or SearchChoice())]), limits or Limits(), **more)
    made = app(create_app(service, access))
    transport = httpx2.ASGITransport(made, raise_app_exceptions=True)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield Client(http, service, engine)
    await service.aclose()
