"""The fake server as others use it: with any client, its faults switched on one by one, and from the command line."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from itertools import chain, repeat
from typing import Any

import pytest

from stepsight.testing import FakeServer, Fault, Manners
from stepsight.testing.__main__ import faults, options

QUESTION = {"model": "scripted-vl", "messages": [{"role": "user", "content": "How many are left?"}]}


def post(url: str, **more: Any) -> str:
    request = urllib.request.Request(
        f"{url}/chat/completions", json.dumps({**QUESTION, **more}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        return str(reply.read().decode())


def test_a_plain_client_gets_a_staged_answer() -> None:
    with FakeServer() as server:
        reply = json.loads(post(server.url))
    text = reply["choices"][0]["message"]["content"]
    assert text.startswith("<SUMMARY>")
    assert text.endswith("</CONCLUSION>")
    assert server.seen == [QUESTION]


def test_the_model_behind_it_can_be_any_function() -> None:
    with FakeServer(write=lambda request, slot, seed: f"{request.turns[-1].text} {seed}.") as server:
        reply = json.loads(post(server.url, n=2, stop="."))
    assert [choice["message"]["content"] for choice in reply["choices"]] == [
        "How many are left? 0",
        "How many are left? 1",
    ]


def test_it_streams() -> None:
    with FakeServer(Manners(cache=False)) as server:
        events = post(server.url, stream=True, stream_options={"include_usage": True}).split("\n\n")
        assert "usage" not in post(server.url, stream=True)
        whole = json.loads(post(server.url))
    assert events[-2:] == ["data: [DONE]", ""]
    told = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    deltas = [event["choices"][0]["delta"].get("content", "") for event in told if event["choices"]]
    assert "".join(deltas) == whole["choices"][0]["message"]["content"]
    assert told[-1]["usage"] == whole["usage"]


@pytest.mark.parametrize("stream", [False, True])
def test_each_fault_hits_one_request(stream: bool) -> None:
    more: dict[str, Any] = {"stream": True} if stream else {}
    with FakeServer() as server:
        server.faults.extend([Fault(429, headers={"Retry-After": "7"}), Fault(500)])
        with pytest.raises(urllib.error.HTTPError) as busy:
            post(server.url, **more)
        with pytest.raises(urllib.error.HTTPError) as broken:
            post(server.url, **more)
        assert (busy.value.code, busy.value.headers["Retry-After"], broken.value.code) == (429, "7", 500)
        busy.value.close()
        broken.value.close()
        server.faults.append(Fault(cut=0))
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            post(server.url, **more)
        server.faults.append(Fault(cut=60))
        with pytest.raises(http.client.IncompleteRead):
            post(server.url, **more)
        server.faults.append(Fault(truncated=True))
        short, whole = post(server.url, **more), post(server.url, **more)
    assert whole.startswith(short[: len(short) // 2])
    assert "finish_reason" in whole
    assert len(short) < len(whole)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(short)


def test_manners_hold_for_all_requests() -> None:
    with FakeServer(Manners(n=1, stops="ignored")) as server:
        reply = json.loads(post(server.url, n=3, stop=["</SUMMARY>"]))
    assert len(reply["choices"]) == 1
    assert reply["choices"][0]["message"]["content"].endswith("</CONCLUSION>")


def test_faults_may_be_endless() -> None:
    with FakeServer(faults=chain([Fault()], repeat(Fault(500)))) as server:
        assert post(server.url)
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError) as broken:
                post(server.url)
            broken.value.close()


def test_the_command_says_where_it_serves_and_makes_the_faults_asked_for() -> None:
    command = [sys.executable, "-m", "stepsight.testing", "--fault", "429", "--retry-after", "9", "--every", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert post(url)
            with pytest.raises(urllib.error.HTTPError) as busy:
                post(url)
            assert (busy.value.code, busy.value.headers["Retry-After"]) == (429, "9")
            busy.value.close()
            assert post(url)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
        assert said == ""
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("500", Fault(500, "internal error")),
        ("cut", Fault(cut=40)),
        ("slow", Fault(wait=0.5)),
        ("truncated", Fault(truncated=True)),
        ("none", Fault()),
    ],
)
def test_the_command_knows_each_fault(name: str, fault: Fault) -> None:
    given = options().parse_args(["--fault", name, "--bytes", "40", "--seconds", "0.5", "--every", "1"])
    made = next(faults(given))
    assert {**vars(made), "until": None} == {**vars(fault), "until": None}
