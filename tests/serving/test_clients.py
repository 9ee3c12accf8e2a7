"""Requests as benchmark harnesses and user interfaces send them: what each relies on holds.

The bodies follow these clients' sources; the harnesses themselves are not installed here.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.serving.asking import serving, text_of

from stepsight.stages import Stage
from stepsight.testing.model import ANSWER
from stepsight.testing.processes import data_url, messages, png

JPEG = data_url(png(size=(120, 120)), "jpeg")  # VLMEvalKit names every picture a JPEG


async def test_vlmevalkit() -> None:
    body = {
        "model": "scripted@stage-beam:2:t0.6",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": JPEG, "detail": "low"}},
                    {"type": "text", "text": "Hint: none\nQuestion: How many?\nOptions:\nA. 1\nB. 2\n"},
                ],
            }
        ],
        "n": 1,
        "temperature": 0.0,
        "max_tokens": 32_768,
    }
    async with serving() as client:
        for more in ({}, {"search": {"content": "whole"}}, {"search": "vote:3:t0.6"}):
            # --extra-body lands at the top level; a method may stand there instead of in the name.
            asked = {**body, **more} if more.get("search") != "vote:3:t0.6" else {**body, "model": "scripted", **more}
            reply = await client.answer(**asked)
            text = reply["choices"][0]["message"]["content"].strip()
            assert text == ANSWER[Stage.CONCLUSION] or text.startswith("<SUMMARY>")
            assert "notes" not in reply["stepsight"], "its temperature of 0 does not spoil the search"


async def test_lmms_eval() -> None:
    body = {
        "model": "scripted@stage-beam:2",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "How many?"},
                    {"type": "image_url", "image_url": {"url": data_url(png())}},
                ],
            }
        ],
        "max_tokens": 4096,
        "temperature": 0,
    }
    async with serving() as client:
        reply = await client.answer(**body)
        usage = reply["usage"]
        assert reply["choices"][0]["message"]["content"] == "1"
        assert usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]
        # Models that it takes for OpenAI's own get these instead.
        del body["max_tokens"], body["temperature"]
        await client.answer(**body, max_completion_tokens=5000, response_format={"type": "text"})


async def test_open_webui_and_gradio() -> None:
    """A plain model in a chat: a list of models, a stream with usage, earlier turns without their reasoning."""
    said: list[dict[str, Any]] = [
        *messages(png()),
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Are you sure?"},
    ]
    async with serving() as client:
        models = (await client.http.get("/v1/models")).json()
        assert models["object"] == "list"
        name = next(one["id"] for one in models["data"] if one["id"].endswith("@stage-beam:4"))
        chunks = await client.chunks(model=name, messages=said, stream_options={"include_usage": True})
        assert text_of(chunks, "content") == "1"
        assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert [chunk["choices"] for chunk in chunks if chunk["usage"]] == [[]]
        assert chunks[-1]["usage"]["total_tokens"] > 0
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert len({chunk["id"] for chunk in chunks}) == 1
        reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]]
        assert reasons == [None] * (len(reasons) - 1) + ["stop"]
        plain = await client.chunks(model=name, messages=said)
        assert all("usage" not in chunk for chunk in plain)
        assert all(chunk["choices"] for chunk in plain), "some clients take the first choice of every chunk"


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_ways_of_naming_json(kind: str) -> None:
    async with serving() as client:
        body = json.dumps({"model": "scripted@greedy", "messages": [{"role": "user", "content": "Wie viele? \u00fc"}]})
        reply = await client.http.post("/v1/chat/completions", content=body.encode(), headers={"Content-Type": kind})
        assert reply.status_code == 200
