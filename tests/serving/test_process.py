"""The server as a process of its own: real sockets, the official client, clients that go away, and its end."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from stepsight.stages import STAGES
from stepsight.testing import FakeServer, Fault, Manners
from stepsight.testing.processes import MARKED, SERVE, Served, data_url, messages, png, posted, served, until

RED = "#ff0000"


@pytest.fixture(scope="module")
def marked() -> Iterator[Served]:
    with served(MARKED, "--max-searches", "8", env={"MARKED_PAUSE": "0.05"}) as server:
        yield server


def official(url: str) -> Any:
    """OpenAI's own client; untyped, for it wants its own types of messages."""
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def client(marked: Served) -> Iterator[Any]:
    with official(marked.url) as client:
        yield client


def test_the_official_client_gets_an_answer(client: Any) -> None:
    reply = client.chat.completions.create(model="marked", messages=messages(png()))
    choice, usage = reply.choices[0], reply.usage
    assert choice.message.content == RED
    assert choice.finish_reason == "stop"
    reasoning = getattr(choice.message, "reasoning_content", "")
    assert reasoning.startswith(f"SUMMARY: summary of {RED}, version 0\n\nCAPTION: caption of {RED}")
    assert "<" not in reasoning
    assert usage is not None
    assert usage.prompt_tokens > 64
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    split = (usage.model_extra or {})["search"]
    assert usage.completion_tokens == split["kept"]
    assert split["discarded"] == 3 * split["kept"]
    assert split["judge"] > 0


@pytest.mark.parametrize("method", ["greedy", "best-of-n:4", "vote:4", "sentence-beam:2", "stage-beam:4", "adaptive"])
def test_a_stream_says_what_the_whole_answer_says(client: Any, method: str) -> None:
    asked = {"model": f"marked@{method}", "messages": messages(png())}
    whole = client.chat.completions.create(**asked)
    content = reasoning = ""
    finish = usage = None
    for chunk in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        if not chunk.choices:
            usage = chunk.usage
            continue
        content += chunk.choices[0].delta.content or ""
        reasoning += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
        finish = chunk.choices[0].finish_reason or finish
    message = whole.choices[0].message
    assert (content, reasoning, finish) == (message.content, message.reasoning_content, "stop")
    assert content == RED
    assert usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_a_chosen_stage_is_sent_before_the_next_is_written() -> None:
    pause = 1.5
    with served(MARKED, env={"MARKED_PAUSE": str(pause)}) as slow:
        mine = official(slow.url)
        seen = []
        stream = mine.chat.completions.create(model="marked@stage-beam:2", messages=messages(png()), stream=True)
        for chunk in stream:
            delta = chunk.choices[0].delta
            text = getattr(delta, "reasoning_content", None) or delta.content
            if text:
                seen.append((time.monotonic(), text.strip().split(":")[0]))
    assert [name for _, name in seen] == ["SUMMARY", "CAPTION", "REASONING", RED]
    assert all(later - sooner > pause / 2 for (sooner, _), (later, _) in pairwise(seen)), "two stages came together"


def test_events_come_to_those_who_ask_for_them_and_break_no_client(client: Any) -> None:
    asked = {"model": "marked@stage-beam:2", "messages": messages(png()), "stream": True}
    kinds: list[tuple[str, str | None]] = []
    content = ""
    for chunk in client.chat.completions.create(**asked, extra_body={"search": {"events": True}}):
        content += chunk.choices[0].delta.content or ""
        event = (chunk.model_extra or {}).get("stepsight")
        if event and "type" in event:
            kinds.append((event["type"], event["stage"]))
    assert content == RED
    each = ["stage_started", "candidate", "candidate", "verdict", "stage_chosen"]
    assert kinds == [(kind, stage.value) for stage in STAGES for kind in each]
    plain = [chunk.model_extra for chunk in client.chat.completions.create(**asked)]
    assert sum("stepsight" in (extra or {}) for extra in plain) == 1, "only the last chunk says something of the search"


def test_errors_are_those_of_the_official_client(client: Any) -> None:
    ask = client.chat.completions.create
    with pytest.raises(openai.NotFoundError, match="known: marked"):
        ask(model="gpt-4o", messages=messages(png()))
    with pytest.raises(openai.BadRequestError) as failed:
        ask(model="marked", messages=messages(png()), n=2)
    assert (failed.value.param, failed.value.code) == ("n", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError, match="picture"):
        ask(model="marked", messages=messages(b"no picture"))


def test_the_official_client_uploads_a_picture(client: Any) -> None:
    upload = client.files.create(file=("photo.png", png((1, 2, 3))), purpose="vision")
    assert (upload.filename, upload.status, upload.purpose) == ("photo.png", "processed", "vision")
    part = {"type": "image_file", "image_file": {"file_id": upload.id}}
    said = [{"role": "user", "content": [part, {"type": "text", "text": "How many?"}]}]
    reply = client.chat.completions.create(model="marked@greedy", messages=said)
    assert reply.choices[0].message.content == "#010203"
    assert client.files.retrieve(upload.id).bytes == len(png((1, 2, 3)))
    assert client.files.delete(upload.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(upload.id)


def test_the_official_client_lists_models(client: Any) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == "marked"
    assert {"marked@greedy", "marked@stage-beam:4", "marked@vote:8"} <= set(names)
    assert client.models.retrieve("marked@stage-beam:7+likelihood").id == "marked@stage-beam:7+likelihood"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("marked@no-such-search")


def test_answers_of_many_clients_are_not_mixed_up(marked: Served, client: Any) -> None:
    def ask(number: int) -> tuple[str, str]:
        colour = (number, 255 - number, 7)
        body = {"model": "marked@stage-beam:2", "messages": messages(png(colour)), "stream": number % 2 == 0}
        if body["stream"]:
            chunks = client.chat.completions.create(**body)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        else:
            text = posted(f"{marked.url}/chat/completions", body)[2]["choices"][0]["message"]["content"]
        return text, f"#{colour[0]:02x}{colour[1]:02x}{colour[2]:02x}"

    with ThreadPoolExecutor(16) as pool:
        for said, expected in pool.map(ask, range(48)):
            assert said == expected


def connection_that_asked(url: str, body: Mapping[str, object]) -> socket.socket:
    """A raw connection on which a request was sent and nothing read."""
    parts = urlsplit(url)
    data = json.dumps(body).encode()
    head = (
        f"POST {parts.path}/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    sock = socket.create_connection((parts.hostname, parts.port), timeout=20)
    sock.sendall(head.encode() + data)
    return sock


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_rows_at_once(stream: bool) -> None:
    with served(MARKED, env={"MARKED_PAUSE": "120"}) as slow, ExitStack() as stack:
        body = {"model": "marked@stage-beam:4", "messages": messages(png()), "stream": stream}
        socks = [stack.enter_context(connection_that_asked(slow.url, body)) for _ in range(5)]
        assert until(lambda: slow.book("rows") == 20)
        assert slow.metric("stepsight_searches_running") == 5
        for sock in socks[:3]:
            sock.close()
        assert until(lambda: slow.book("rows") == 8)
        assert slow.metric("stepsight_searches_running") == 2
        assert slow.metric('stepsight_searches_total{ended="cancelled",search="stage-beam"}') == 3
        for sock in socks[3:]:
            sock.close()
        assert until(lambda: slow.book("rows") == 0)


def test_one_that_waits_in_the_queue_and_goes_away_leaves_the_queue() -> None:
    with served(MARKED, "--max-searches", "1", "--max-queue", "2", env={"MARKED_PAUSE": "120"}) as slow:
        body = {"model": "marked@greedy", "messages": messages(png())}
        first = connection_that_asked(slow.url, body)
        assert until(lambda: slow.metric("stepsight_searches_running") == 1)
        second, third = connection_that_asked(slow.url, body), connection_that_asked(slow.url, body)
        assert until(lambda: slow.metric("stepsight_searches_queued") == 2)
        status, headers, reply = posted(f"{slow.url}/chat/completions", body)
        assert status == 429
        assert 1 <= int(headers["retry-after"]) <= 60
        assert reply["error"]["type"] == "rate_limit_error"
        second.close()
        assert until(lambda: slow.metric("stepsight_searches_queued") == 1, 5)
        for sock in (first, third):
            sock.close()
        assert until(lambda: slow.book("rows") == 0, 5)


def test_it_ends_when_told_to_and_finishes_what_is_under_way() -> None:
    with served(MARKED, "--grace", "20", env={"MARKED_PAUSE": "0.5"}) as server:
        answers: list[int] = []
        body = {"model": "marked@stage-beam:2", "messages": messages(png())}
        asking = threading.Thread(target=lambda: answers.append(posted(f"{server.url}/chat/completions", body)[0]))
        asking.start()
        assert until(lambda: server.book("rows") > 0)
        assert server.stop() == 0
        asking.join()
        assert answers == [200]
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((urlsplit(server.url).hostname, urlsplit(server.url).port), timeout=5)
        assert "Traceback" not in server.log


def test_after_its_grace_it_ends_all_the_same() -> None:
    with served(MARKED, "--grace", "1", env={"MARKED_PAUSE": "60"}) as server:
        body = {"model": "marked@greedy", "messages": messages(png())}
        sock = connection_that_asked(server.url, body)
        assert until(lambda: server.book("rows") == 1)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 20
        reply = http.client.HTTPResponse(sock)
        reply.begin()
        assert reply.status == 503
        sock.close()
        assert "Traceback" not in server.log


def test_nothing_that_was_asked_is_in_the_log() -> None:
    secret = "Zebra-in-the-garden"
    with served(MARKED, "--api-key", "sk-secret-key") as server:
        for key in ("sk-secret-key", "sk-wrong-key"):
            body = {"model": "marked@greedy", "messages": messages(png(), secret)}
            posted(f"{server.url}/chat/completions", body, {"Authorization": f"Bearer {key}"})
        posted(f"{server.url}/chat/completions", {"model": "marked", "messages": messages(b"x", secret)})
        server.stop()
        assert " POST 200 " in server.log
        assert " POST 401 " in server.log
        assert not [word for word in ("Zebra", "sk-", "/tmp", "data:") if word in server.log]


# An OpenAI-compatible server behind it.


def test_a_server_behind_it_gives_the_answers_and_hears_of_clients_that_go_away() -> None:
    upstream = FakeServer(Manners(key="sk-upstream"))
    with upstream as fake, served(SERVE, "--server", upstream.url, env={"STEPSIGHT_API_KEY": "sk-upstream"}) as server:
        name = json.loads(subprocess.check_output(["curl", "-s", f"{server.url}/models"]))["data"][0]["id"]
        assert name == "scripted-vl"
        body = {"model": f"{name}@stage-beam:3", "messages": messages(png())}
        status, _, reply = posted(f"{server.url}/chat/completions", body)
        assert status == 200, reply
        assert reply["choices"][0]["message"]["content"] == "1"
        assert reply["usage"]["search"]["discarded"] > 0
        fake.faults.extend([Fault(wait=30)] * 3)
        gone = fake.gone
        sock = connection_that_asked(server.url, {**body, "stream": True})
        assert until(lambda: server.metric("stepsight_searches_running") == 1)
        time.sleep(0.5)
        sock.close()
        assert until(lambda: fake.gone > gone, 10)
        fake.faults.clear()
        fake.faults.extend([Fault(400, "no: http://upstream/secret path", {})] * 9)
        status, _, reply = posted(f"{server.url}/chat/completions", body)
        assert status == 502
        assert reply["error"] == {
            "message": "the model failed",
            "type": "server_error",
            "param": None,
            "code": "model_failed",
        }
        assert "sk-upstream" not in server.log


def test_pico_answers_as_ask_does() -> None:
    from stepsight import ask
    from stepsight.cli.ask import EXAMPLE_QUESTION, example_picture

    with served(SERVE) as server:
        picture = example_picture()
        turn = {"type": "image_url", "image_url": {"url": data_url(picture.read_bytes())}}
        said = [{"role": "user", "content": [turn, {"type": "text", "text": EXAMPLE_QUESTION}]}]
        body = {
            "model": "pico@stage-beam:2",
            "messages": said,
            "seed": 5,
            "search": {"content": "whole", "trace": True},
        }
        status, _, reply = posted(f"{server.url}/chat/completions", body)
    assert status == 200, reply
    here = ask(picture, EXAMPLE_QUESTION, width=2, seed=5)
    assert reply["choices"][0]["message"]["content"] == here.trace.text.strip()
    assert reply["usage"]["search"]["kept"] == here.usage.kept
    trace = reply["stepsight"]["trace"]
    assert trace["question"]["images"] == []
    assert "/" not in trace["settings"]["engine"]
    assert [one["seed"] for one in trace["candidates"]] == [one.seed for one in here.trace.candidates]
