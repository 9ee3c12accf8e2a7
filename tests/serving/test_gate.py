"""Who may ask, how much, and what leaves: keys, names, origins, bodies, headers, and no word too many."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.serving.asking import Client, serving

from stepsight.errors import InputError
from stepsight.serving.gate import Access, loopback_names
from stepsight.serving.limits import Limits
from stepsight.testing.processes import messages, png

PATHS = (
    "/v1/models",
    "/v1/models/scripted",
    "/v1/files/file-1",
    "/v1/traces/trace-1",
    "/metrics",
    "/health",
    "/nothing",
)
LOCAL = Access(hosts=loopback_names("127.0.0.1", ["box.local"]))


async def test_without_the_key_nothing_is_answered_but_health() -> None:
    async with serving(access=Access(key="sk-right-key")) as client:
        for path in PATHS:
            for given in (
                None,
                "Bearer sk-wrong-key",
                "Bearer ",
                "sk-right-key",
                "Basic sk-right-key",
                "Bearer sk-right-ke",
            ):
                reply = await client.http.get(path, headers={"Authorization": given} if given else {})
                locked = path.startswith("/v1") or path == "/metrics"
                assert (reply.status_code == 401) == locked, path
                if locked:
                    assert reply.json()["error"]["code"] == "invalid_api_key"
                    assert reply.headers["www-authenticate"] == "Bearer"
                    assert "sk-" not in reply.text
        assert (await client.ask())[0] == 401
        right = {"Authorization": "bearer sk-right-key"}
        assert (await client.http.get("/v1/models", headers=right)).status_code == 200
        assert (await client.http.get("/health")).json() == {"status": "ok"}
        body = {"model": "scripted", "messages": messages(png())}
        assert (await client.http.post("/v1/chat/completions", json=body, headers=right)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/../v1/models", "//v1/models", "/V1/models", "/v1%2Fmodels", "/./v1/models", "/v1/models/"]
)
async def test_no_way_of_writing_a_path_leads_around_the_key(path: str) -> None:
    async with serving(access=Access(key="sk-right-key")) as client:
        assert (await client.http.get(f"http://localhost{path}")).status_code in (401, 404)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8400", 200),
        ("127.0.0.1:8400", 200),
        ("[::1]:8400", 200),
        ("box.local", 200),
        ("evil.test", 421),
        ("localhost.evil.test", 421),
        ("127.0.0.1.evil.test:8400", 421),
        ("evil.test#localhost", 421),
        ("user@localhost", 200),
        ("[::1", 421),
        ("", 421),
    ],
)
async def test_a_name_that_was_pointed_here_is_not_answered(host: str, status: int) -> None:
    async with serving(access=LOCAL) as client:
        assert (await client.http.get("/v1/models", headers={"Host": host})).status_code == status


async def test_pages_from_elsewhere_cannot_make_it_work() -> None:
    async with serving(access=LOCAL) as client:
        body = {"model": "scripted", "messages": messages(png())}
        for origin in ("https://evil.test", "null", "http://localhost.evil.test", "http://localhost:9"):
            reply = await client.http.post("/v1/chat/completions", json=body, headers={"Origin": origin})
            assert reply.status_code == 403
            assert "access-control-allow-origin" not in reply.headers
            upload = await client.http.post("/v1/files", files={"file": png()}, headers={"Origin": origin})
            assert upload.status_code == 403
        same = await client.http.post("/v1/chat/completions", json=body, headers={"Origin": "http://localhost"})
        assert same.status_code == 200
        plain = await client.send(json.dumps(body), Content_Type="text/plain")
        assert plain.status_code == 415
        before = await client.http.options(
            "/v1/chat/completions", headers={"Origin": "https://evil.test", "Access-Control-Request-Method": "POST"}
        )
        assert "access-control-allow-origin" not in before.headers


async def test_an_origin_that_is_allowed_may_ask() -> None:
    async with serving(access=Access(key="sk-right-key", origins=frozenset({"https://app.test"}))) as client:
        before = await client.http.options(
            "/v1/chat/completions",
            headers={
                "Origin": "https://app.test",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == "https://app.test"
        asked = {"Origin": "https://app.test", "Authorization": "Bearer sk-right-key"}
        assert (await client.http.get("/v1/models", headers=asked)).headers[
            "access-control-allow-origin"
        ] == "https://app.test"
        other = await client.http.get("/v1/models", headers={**asked, "Origin": "https://evil.test"})
        assert other.status_code == 403
        assert "access-control-allow-origin" not in other.headers


async def test_every_reply_has_the_headers_that_browsers_heed() -> None:
    async with serving() as client:
        for path in PATHS:
            headers = (await client.http.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["x-request-id"].startswith("req-")
            assert "server" not in headers
            if path.startswith("/v1"):
                assert headers["cache-control"] == "no-store"


async def test_all_refusals_have_one_form() -> None:
    async with serving() as client:
        asked = [
            await client.http.get("/nothing"),
            await client.http.put("/v1/models"),
            await client.http.get("/v1/models/gpt-4o"),
            await client.http.post("/v1/files", data={"purpose": "vision"}),
            await client.http.post("/v1/files", files={"file": b"x"}),
            await client.http.post("/v1/files", files={"file": png()}, data={"purpose": "fine-tune"}),
            await client.send(b"--x", "/v1/files", Content_Type="multipart/form-data; boundary=x"),
            await client.send(b"{"),
            await client.send(b""),
            await client.send(b"[" * 100_000),
            await client.send(b'{"a": NaN}'),
            await client.send(b'"\\ud800"'),
            await client.send(b"\xff\xfe{"),
        ]
        for reply in asked:
            assert reply.status_code in (400, 404, 405), reply.text
            assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
        assert asked[1].headers["allow"] == "GET"


# How much.


async def chunked(pieces: int, size: int) -> AsyncIterator[bytes]:
    yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    for _ in range(pieces):
        yield b"x" * size


async def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() -> None:
    async with serving(limits=Limits(body_mb=0.5)) as client:
        form = "multipart/form-data; boundary=x"
        for path, kind in (("/v1/chat/completions", "application/json"), ("/v1/files", form)):
            said = await client.send(b"x" * 600_000, path, Content_Type=kind)
            silent = await client.send(chunked(10, 60_000), path, Content_Type=kind)
            for reply in (said, silent):
                assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")
        assert (await client.ask())[0] == 200


async def test_what_all_requests_hold_together_is_bounded_and_let_go_of() -> None:
    limits = Limits(body_mb=0.1, held_mb=0.25)
    holding, done = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 90_000
        holding.set()
        await done.wait()

    async with serving(limits=limits) as client:
        waiting = []
        for _ in range(2):
            holding.clear()
            waiting.append(asyncio.create_task(client.send(slow())))
            await holding.wait()
        third = await client.send(b"x" * 90_000)
        assert (third.status_code, third.headers["retry-after"]) == (429, "1")
        done.set()
        assert [(await reply).status_code for reply in waiting] == [400, 400]
        assert (await client.ask())[0] == 200


async def test_no_more_requests_are_read_than_can_be_served() -> None:
    done = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await done.wait()

    async with serving(limits=Limits(searches=1, queue=0)) as client:
        waiting = [asyncio.create_task(client.send(slow())) for _ in range(65)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert (await client.ask())[0] == 429
        done.set()
        await asyncio.gather(*waiting)
        assert (await client.ask())[0] == 200


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepsight.serving.gate._BODY_SECONDS", 0.1)

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async with serving() as client:
        reply = await client.send(never())
        assert (reply.status_code, reply.json()["error"]["code"]) == (408, "timeout")


def test_limits_must_be_limits() -> None:
    assert Limits(queue=0).queue == 0
    for name in ("searches", "body_mb", "search_seconds", "candidates"):
        for value in (0, -1, float("inf"), float("nan")):
            with pytest.raises(InputError, match=name):
                Limits(**{name: value})  # type: ignore[arg-type]


# What leaves.


async def test_a_fault_of_our_own_is_an_envelope_and_a_line_without_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: object, body: bytes, lease: object) -> Any:
        raise RuntimeError("Zebra /home/me sk-1234")

    monkeypatch.setattr("stepsight.serving.service.Service.read", broken)
    with caplog.at_level(logging.INFO, "stepsight"):
        async with serving() as client:
            status, reply = await client.ask()
    assert (status, reply["error"]["code"]) == (500, "internal_error")
    told = json.dumps(reply) + caplog.text
    assert not [word for word in ("Zebra", "/home", "sk-1234", "Traceback") if word in told]
    assert "RuntimeError at test_gate.py:" in caplog.text


async def test_the_log_has_a_line_for_every_request(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "stepsight.serving"):
        async with serving() as client:
            reply = await client.http.get("/v1/models?key=sk-1234")
            await client.refused(n=2)
    lines = [record.getMessage() for record in caplog.records if record.name == "stepsight.serving.gate"]
    assert lines[0].startswith(f"{reply.headers['x-request-id']} GET 200 ")
    assert " POST 400 " in lines[1]
    assert "sk-1234" not in caplog.text


async def test_a_page_is_served_with_a_policy_of_its_own(tmp_path: Any) -> None:
    from fastapi import FastAPI

    from stepsight.serving.app import create_app

    (tmp_path / "index.html").write_text("<!doctype html><title>page</title><script src=page.js></script>")
    (tmp_path / "page.js").write_text("1")
    made: list[Client] = []

    async with serving() as plain:
        assert (await plain.http.get("/no-such-page")).status_code == 404

        def with_page(_: FastAPI) -> FastAPI:
            return create_app(plain.service, Access(key="sk-right-key"), page=tmp_path)

        async with serving(app=with_page) as client:
            made.append(client)
            for path in ("/", "/page.js"):
                reply = await client.http.get(path)
                assert reply.status_code == 200
                policy = reply.headers["content-security-policy"]
                assert "script-src 'self'" in policy
                assert "connect-src 'self'" in policy
                assert reply.headers["cache-control"] == "no-cache"
            assert (await client.http.get("/v1/models")).status_code == 401
            assert (await client.http.get("/health")).status_code == 200
            missing = await client.http.get("/none.js")
            assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
            assert (await client.http.get("/../gate.py")).status_code == 404
