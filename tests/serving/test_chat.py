"""`/v1/chat/completions`: what is asked reaches the search, what comes back is honest, the rest is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.serving.asking import Client, serving, text_of

from stepsight.assembly import SearchChoice
from stepsight.engines.scripted import SampleCall, ScriptedEngine
from stepsight.errors import EngineError, ModelError, TooLongError
from stepsight.protocols import Capabilities, Completion, SampleRequest, SearchSettings
from stepsight.records import Finish, Piece, Trace
from stepsight.serving.limits import Limits
from stepsight.serving.methods import parse_method
from stepsight.stages import STAGES
from stepsight.testing.model import ANSWER, rated, written
from stepsight.testing.processes import data_url, messages, png

REASONING = "\n\n".join(f"{stage.value}: {ANSWER[stage]}" for stage in STAGES[:-1])


def first_request(client: Client) -> SampleRequest:
    assert isinstance(client.engine, ScriptedEngine)
    call = client.engine.calls[0]
    assert isinstance(call, SampleCall)
    return call.request


async def test_an_answer_says_how_it_was_found_and_what_it_cost() -> None:
    async with serving() as client:
        reply = await client.answer(model="scripted@stage-beam:3")
        (choice,) = reply["choices"]
        assert choice["message"] == {
            "role": "assistant",
            "content": "1",
            "refusal": None,
            "reasoning_content": REASONING,
        }
        assert (choice["index"], choice["finish_reason"], reply["object"]) == (0, "stop", "chat.completion")
        assert reply["model"] == "scripted@stage-beam:3"
        assert reply["stepsight"]["method"] == "stage-beam:3+self"
        usage, search = reply["usage"], reply["usage"]["search"]
        assert set(search) == {"kept", "discarded", "judge", "cached"}
        assert usage["completion_tokens"] == search["kept"] > usage["completion_tokens_details"]["reasoning_tokens"] > 0
        assert search["discarded"] > search["kept"]
        first = client.engine.calls[0]  # type: ignore[attr-defined]
        assert usage["prompt_tokens"] == first.result.computed + first.result.cached
        again = await client.answer(model="scripted@stage-beam:3")
        assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"]
        assert again["choices"] == reply["choices"]


@pytest.mark.parametrize(
    ("body", "method"),
    [
        ({}, "stage-beam:4+self"),
        ({"model": "scripted@greedy"}, "greedy"),
        ({"model": "scripted@vote:5"}, "vote:5"),
        ({"search": "best-of-n:2+vote"}, "best-of-n:2+vote"),
        ({"search": {"method": "best-of-n:2", "judge": "vote"}}, "best-of-n:2+vote"),
        ({"search": {"width": 3}}, "stage-beam:3+self"),
        ({"model": "scripted@stage-beam:2", "search": {"width": 3}}, "stage-beam:3+self"),
        ({"model": "scripted@vote:2", "search": {"method": "vote:2"}}, "vote:2"),
        ({"search": {"budget": {"tokens": 900}}}, "stage-beam:4:900tok+self"),
    ],
)
async def test_the_method_stands_in_the_name_or_in_the_body(body: dict[str, Any], method: str) -> None:
    async with serving() as client:
        assert (await client.answer(**body))["stepsight"]["method"] == method


async def test_settings_of_the_request_reach_the_search() -> None:
    plan = SearchChoice("stage-beam", "self", SearchSettings(2, 0.6, 0.9, 100, 3))
    async with serving(plan=plan, limits=Limits(answer_tokens=900)) as client:

        async def traced(**body: Any) -> Trace:
            search = {**body.pop("search", {}), "trace": True}
            return Trace.model_validate((await client.answer(search=search, **body))["stepsight"]["trace"])

        trace = await traced()
        settings = trace.settings
        assert (settings["temperature"], settings["top_p"], settings["max_tokens"], trace.seed) == (0.6, 0.9, 100, 3)
        assert settings["answer_tokens"] == 900
        trace = await traced(temperature=0.2, top_p=0.5, seed=-9, max_tokens=50, max_completion_tokens=70)
        settings = trace.settings
        assert (settings["temperature"], settings["top_p"], settings["max_tokens"], trace.seed) == (0.2, 0.5, 100, -9)
        assert settings["answer_tokens"] == 50
        assert (await traced(max_tokens=32_768)).settings["answer_tokens"] == 900
        # Harnesses send 0; what stands in the name counts.
        assert (await traced(model="scripted@stage-beam:2:t0.7", temperature=0)).settings["temperature"] == 0.7
        assert (await traced(search={"survivors": 2, "greedy_first": True})).settings["survivors"] == 2
        constants = ["adaptive.rounds=1", "adaptive.captions=2"]
        assert (await traced(search={"method": "adaptive", "constants": constants})).settings["adaptive"][
            "captions"
        ] == 2
        assert trace.question.images == ()
        assert trace.settings["engine"] == "scripted"


async def test_at_temperature_0_whoever_asks_for_a_choice_is_told_that_there_is_none() -> None:
    async with serving() as client:
        assert "t0.6" in (await client.answer(temperature=0))["stepsight"]["notes"][0]
        assert "notes" not in (await client.answer(temperature=0, model="scripted@greedy"))["stepsight"]


async def test_turns_before_the_question_are_given_to_the_model_and_the_judge() -> None:
    picture = {"type": "image_url", "image_url": {"url": data_url(png())}}
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [picture, {"type": "text", "text": "How many cubes?"}]},
        {"role": "assistant", "content": "1", "reasoning_content": REASONING},
        {"role": "user", "content": "And spheres?"},
        {"role": "assistant", "content": "None that I see."},
        {"role": "user", "content": [{"type": "text", "text": "Are you"}, {"type": "text", "text": "sure?"}]},
    ]
    async with serving() as client:
        reply = await client.answer(messages=said)
        assert reply["stepsight"]["notes"] == ["messages of the system are not given to the model"]
        turns = first_request(client).turns
        whole = "\n\n".join(f"{stage.open} {ANSWER[stage]} {stage.close}" for stage in STAGES)
        assert [(turn.role, turn.text, len(turn.images)) for turn in turns] == [
            ("user", "How many cubes?", 1),
            ("assistant", whole, 0),
            ("user", "And spheres?", 0),
            ("assistant", "None that I see.", 0),
            ("user", "Are you\nsure?", 0),
        ]
        judged = next(call for call in client.engine.calls if not isinstance(call, SampleCall))  # type: ignore[attr-defined]
        text = judged.requests[0].turns[0].text
        assert text.startswith("User: How many cubes?\nAssistant: <SUMMARY>")
        assert "\nUser: Are you\nsure?\n\n" in text
    async with serving(passes_system=True) as client:
        assert "notes" not in (await client.answer(messages=said))["stepsight"]
        assert [turn.role for turn in first_request(client).turns][:2] == ["system", "user"]


async def test_the_same_conversation_is_the_same_question_and_another_is_another() -> None:
    async with serving() as client:

        async def asked(said: list[dict[str, Any]]) -> str:
            reply = await client.answer(messages=said, search={"trace": True, "method": "greedy"})
            return str(reply["stepsight"]["trace"]["question"]["id"])

        one = [*messages(png()), {"role": "assistant", "content": "1"}, {"role": "user", "content": "And now?"}]
        other = [*messages(png("blue")), *one[1:]]
        ids = [await asked(said) for said in (one, one, other, messages(png()), messages(png(), "And now?"))]
        assert ids[0] == ids[1]
        assert len(set(ids)) == 4


async def test_questions_without_a_picture_and_with_several_are_taken() -> None:
    async with serving() as client:
        await client.answer(messages=[{"role": "user", "content": "What is red?"}])
        pictures = [{"type": "image_url", "image_url": data_url(png((number, 0, 0)))} for number in range(4)]
        said = [{"role": "user", "content": [*pictures, {"type": "text", "text": "Which is darkest?"}]}]
        await client.answer(messages=said)
        asked = [call.request for call in client.engine.calls if isinstance(call, SampleCall)]  # type: ignore[attr-defined]
        assert len(asked[-1].turns[0].images) == 4
        said[0]["content"] = [pictures[0], *said[0]["content"]]
        assert (await client.refused(messages=said))["code"] == "too_many_images"


# What a model breaks.


async def test_a_model_without_stages_is_heard_all_the_same() -> None:
    async with serving(lambda request, slot, seed: "I see one cube.") as client:
        for method in ("greedy", "stage-beam:2"):
            reply = await client.answer(model=f"scripted@{method}")
            assert reply["choices"][0]["message"]["content"] == "I see one cube."
            assert reply["choices"][0]["finish_reason"] == "stop"
            assert "SUMMARY is missing" in reply["stepsight"]["faults"]
            chunks = await client.chunks(model=f"scripted@{method}")
            assert text_of(chunks, "content") == "I see one cube."


@pytest.mark.parametrize("method", ["greedy", "best-of-n:2", "stage-beam:2"])
async def test_an_answer_that_was_cut_says_so(method: str) -> None:
    async with serving() as client:
        whole = (await client.answer(model=f"scripted@{method}"))["usage"]["completion_tokens"]
        for most in (1, 20):
            reply = await client.answer(model=f"scripted@{method}", max_tokens=most)
            assert reply["choices"][0]["finish_reason"] == "length"
            assert reply["usage"]["completion_tokens"] <= most
        reply = await client.answer(model=f"scripted@{method}", max_tokens=20)
        message = reply["choices"][0]["message"]
        assert message["content"] == ""
        assert REASONING.startswith(message["reasoning_content"])
        chunks = await client.chunks(model=f"scripted@{method}", max_tokens=20)
        assert text_of(chunks, "reasoning_content") == message["reasoning_content"]
        assert chunks[-1]["choices"][0]["finish_reason"] == "length"
        reply = await client.answer(model=f"scripted@{method}", max_tokens=whole)
        assert reply["choices"][0]["finish_reason"] == "stop"


async def test_a_stage_that_was_cut_is_a_length_too() -> None:
    for method, most in (("greedy", 20), ("best-of-n:2", 20), ("stage-beam:2", 3)):
        async with serving(plan=SearchChoice(settings=SearchSettings(max_tokens=most))) as client:
            reply = await client.answer(model=f"scripted@{method}")
            assert reply["choices"][0]["finish_reason"] == "length"


async def test_a_budget_that_ran_out_is_a_length() -> None:
    async with serving() as client:
        reply = await client.answer(search={"method": "stage-beam:2", "budget": {"tokens": 60}})
        assert reply["choices"][0]["finish_reason"] == "length"
        assert reply["stepsight"]["spending"]["ended_by"] == "tokens"


async def test_the_whole_answer_can_be_the_content() -> None:
    async with serving() as client:
        whole = "\n\n".join(f"{stage.open} {ANSWER[stage]} {stage.close}" for stage in STAGES)
        reply = await client.answer(search={"content": "whole"})
        assert reply["choices"][0]["message"]["content"] == whole
        assert "reasoning_content" not in reply["choices"][0]["message"]
        for method in ("greedy", "stage-beam:2", "vote:2"):
            chunks = await client.chunks(search={"content": "whole", "method": method})
            assert text_of(chunks, "content") == whole


@pytest.mark.parametrize(
    ("field", "names"),
    [("reasoning", ["reasoning"]), ("both", ["reasoning_content", "reasoning"]), ("none", [])],
)
async def test_the_reasoning_is_called_as_the_server_is_told(field: str, names: list[str]) -> None:
    async with serving(reasoning_field=field) as client:
        message = (await client.answer())["choices"][0]["message"]
        assert set(message) == {"role", "content", "refusal", *names}
        chunks = await client.chunks()
        assert [text_of(chunks, name) for name in names] == [REASONING] * len(names)
        assert text_of(chunks, "content") == "1"


# Events.


async def test_events_say_everything_but_what_is_nobodys_business() -> None:
    def failing(request: SampleRequest, slot: int, seed: int) -> str | Completion:
        if slot == 1 and not request.prefix:
            return Completion(Piece(text="x"), Finish.ERROR, 1, reason="http://upstream:1/secret said no")
        return written(request, slot, seed)

    async with serving(failing) as client:
        chunks = await client.chunks(
            search={"method": "stage-beam:2", "events": ["candidate", "verdict", "text"], "trace": True}
        )
        told = [chunk["stepsight"] for chunk in chunks if "stepsight" in chunk]
        assert {one["type"] for one in told if "type" in one} == {"candidate", "verdict", "text"}
        candidates = [one["candidate"] for one in told if one.get("type") == "candidate"]
        assert set(candidates[0]) == {
            "id", "parent", "slot", "stage", "text", "finish", "tokens", "logprob", "sentence",
        }  # fmt: skip
        assert "error" in {one["finish"] for one in candidates}
        assert "upstream" not in json.dumps(chunks)
        texts = "".join(one["text"] for one in told if one.get("type") == "text" and one["slot"] == 0)
        assert texts == "".join(one["text"] for one in candidates if one["slot"] == 0)
        assert [chunk["choices"][0]["delta"] for chunk in chunks if chunk.get("stepsight", {}).get("type")] == [
            {} for one in told if "type" in one
        ]


async def test_a_retrace_is_told_and_what_it_replaces_was_never_sent() -> None:
    search = {"method": "swires+likelihood", "constants": ["swires.cutoff=9", "swires.retraces=2"], "events": True}
    async with serving(_with_logprobs) as client:
        chunks = await client.chunks(search=search)
        told = [chunk["stepsight"] for chunk in chunks if chunk.get("stepsight", {}).get("type")]
        assert [one["stage"] for one in told if one["type"] == "retrace"] == ["CAPTION", "CAPTION"]
        places = [place for place, chunk in enumerate(chunks) if _reasoning(chunk)]
        last_event = max(place for place, chunk in enumerate(chunks) if chunk.get("stepsight", {}).get("type"))
        names = [_reasoning(chunks[place]).strip().split(":")[0] for place in places]
        assert names == ["SUMMARY", "CAPTION", "REASONING"]
        assert places[0] < last_event < places[1]
        assert text_of(chunks, "reasoning_content").startswith("SUMMARY: ")


def _with_logprobs(request: SampleRequest, slot: int, seed: int) -> Completion:
    text = written(request, slot, seed)
    return Completion(Piece(text=text), Finish.STOP, 9, logprob=-float(seed % 7) - 1)


def _reasoning(chunk: dict[str, Any]) -> str:
    return str(chunk["choices"][0]["delta"].get("reasoning_content") or "") if chunk.get("choices") else ""


async def test_traces_can_be_kept_for_a_while_as_a_page_too() -> None:
    async with serving() as client:
        reply = await client.answer(search={"keep": True, "method": "stage-beam:2"})
        name = reply["stepsight"]["trace_id"]
        kept = await client.http.get(f"/v1/traces/{name}")
        assert Trace.model_validate_json(kept.content).question.images == ()
        page = await client.http.get(f"/v1/traces/{name}/page")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.text.startswith("<!doctype html>")
        assert "data:image/png;base64," in page.text
        assert str(client.service.shelf._folder.name) not in page.text
        assert (await client.http.get("/v1/traces/trace-0")).status_code == 404


# What is refused.


def with_picture(url: str, role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": [{"type": "image_url", "image_url": url}]}, *messages()]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"stop": ["x"]}, "stop"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"functions": [{}]}, "functions"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": -1}, "frequency_penalty"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"prediction": {"type": "content"}}, "prediction"),
        ({"web_search_options": {"x": 1}}, "web_search_options"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}, *messages(png())]}, "messages.0.tool_calls"),
    ],
)
async def test_what_would_be_left_undone_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    async with serving() as client:
        error = await client.refused(**body)
        assert (error["param"], error["code"]) == (param, "unsupported_parameter")


async def test_values_that_change_nothing_are_taken_and_unknown_fields_are_named() -> None:
    async with serving() as client:
        reply = await client.answer(
            n=1,
            stop=None,
            tools=[],
            tool_choice="none",
            response_format={"type": "text"},
            logprobs=False,
            logit_bias={},
            presence_penalty=0,
            frequency_penalty=0.0,
            modalities=["text"],
            user="someone",
            metadata={"a": "b"},
            stream_options=None,
            top_k=50,
            repetition_penalty=1.1,
        )
        assert reply["stepsight"]["ignored"] == ["repetition_penalty", "top_k"]


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": "hello"}, "messages", "valid array"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages", "asks nothing"),
        ({"messages": [{"role": "user", "content": None}]}, "messages", "asks nothing"),
        ({"messages": [{"role": "assistant", "content": "1"}]}, "messages", "the user's"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role", "user"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages.0.content.0", "this type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text", "required"),
        ({"messages": with_picture("x", "system")}, "messages", "user only"),
        ({"messages": [{"role": "user", "content": "x"}] * 40}, "messages", "more than 32"),
        ({"messages": [{"role": "user", "content": "x" * 40_000}]}, "messages", "characters"),
        ({"messages": messages(b"\x89PNG\r\n\x1a\nzzz")}, "messages", "picture"),
        ({"messages": with_picture("data:image/png,abc")}, "messages", "base64"),
        ({"messages": with_picture("data:;base64,a!b")}, "messages", "base64"),
        ({"messages": with_picture("https://a.test/x.png")}, "messages", "not fetched"),
        ({"messages": with_picture("file:///etc/passwd")}, "messages", "not fetched"),
        ({"temperature": 3}, "temperature", "2"),
        ({"temperature": "hot"}, "temperature", "number"),
        ({"top_p": 0}, "top_p", "0"),
        ({"max_tokens": 0}, "max_tokens", "1"),
        ({"seed": 2**70}, "seed", ""),
        ({"model": "scripted@no"}, "model", "no strategy"),
        ({"model": "scripted@stage-beam:0"}, "search", "width is 0"),
        ({"model": "scripted@stage-beam:17"}, "search", "16 at most"),
        ({"model": "scripted@vote:3+tom"}, "search", "no judge"),
        ({"model": "scripted@vote:3", "search": "vote:4"}, "search", "different methods"),
        ({"search": {"widht": 3}}, "search.widht", "not permitted"),
        ({"search": {"constants": ["swires.retraces=99"]}}, "search", "rounds"),
        ({"search": {"constants": ["swires.captions=64"], "method": "swires"}}, "search", "candidates at a time"),
        ({"search": {"constants": ["nonsense"]}}, "search", "sets nothing"),
        ({"search": {"survivors": 9}}, "search", "survivors"),
        ({"search": {"method": "swires", "judge": "self"}}, None, "no scores"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused_with_the_reason(
    body: dict[str, Any], param: str | None, said: str
) -> None:
    async with serving() as client:
        error = await client.refused(**body)
        assert said in error["message"]
        assert error["param"] == param
        assert client.engine.calls == []  # type: ignore[attr-defined]


async def test_a_search_that_the_engine_cannot_do_is_refused_without_naming_the_engine() -> None:
    able = Capabilities(prefix=False, logprobs=True, images=True, seeds=True)
    engine = ScriptedEngine(written, scores=rated, name="openai:/secret/folder", capabilities=able)
    async with serving(engine=engine) as client:
        error = await client.refused()
        assert "best-of-n" in error["message"]
        assert "scripted" in error["message"]
        assert "/secret" not in json.dumps(error)
        listed = (await client.http.get("/v1/models")).json()["data"]
        assert [one["id"] for one in listed] == [
            "scripted", "scripted@greedy", "scripted@best-of-n:4", "scripted@vote:8",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (EngineError("the server http://10.0.0.9:1 is busy", retryable=True), 503, "model_unavailable"),
        (EngineError("the key sk-1234 is wrong"), 502, "model_failed"),
        (ModelError("no /home/me/model"), 502, "model_failed"),
        (TooLongError("the prompt has 9999 tokens: 'Zebra'"), 400, "context_length_exceeded"),
        (ValueError("/home/me: Zebra sk-1234"), 500, "internal_error"),
        (MemoryError(), 500, "internal_error"),
    ],
)
async def test_a_failing_engine_is_shown_as_such_and_no_more_is_said(
    error: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(request: SampleRequest, slot: int, seed: int) -> str:
        raise error

    async with serving(fail) as client:
        found, reply = await client.ask()
        assert (found, reply["error"]["code"]) == (status, code)
        assert not [
            word for word in ("10.0.0.9", "sk-1234", "/home", "Zebra") if word in json.dumps(reply) + caplog.text
        ]
        if status != 500:
            chunks = await client.chunks()
            assert chunks[-1]["error"]["code"] == code
        metrics = (await client.http.get("/metrics")).text
        assert (
            f'stepsight_searches_total{{ended="failed",search="stage-beam"}} {1 if status == 500 else 2}.0' in metrics
        )


async def test_a_search_that_takes_too_long_is_ended() -> None:
    class Sleeper(ScriptedEngine):
        async def sample(self, request: SampleRequest, on_text: object = None) -> Any:
            await asyncio.sleep(30)

    async with serving(engine=Sleeper(written), limits=Limits(search_seconds=0.05)) as client:
        status, reply = await client.ask()
        assert (status, reply["error"]["code"]) == (504, "timeout")
        assert (await client.chunks())[-1]["error"]["code"] == "timeout"
        assert client.service.turnstile.running == 0


async def test_a_picture_is_let_go_of_when_the_answer_is_there() -> None:
    async with serving() as client:
        await client.answer()
        await client.chunks()
        await client.refused(messages=messages(b"x"))
        assert not client.service.shelf._pins
        assert client.service.shelf.files == 1


async def test_metrics_count_what_happened() -> None:
    async with serving() as client:
        usage = (await client.answer(model="scripted@stage-beam:2"))["usage"]["search"]
        await client.chunks(model="scripted@stage-beam:2")
        await client.ask(n=2)
        await client.http.get("/v1/models")
        lines = (await client.http.get("/metrics")).text.splitlines()
        assert 'stepsight_requests_total{path="/v1/chat/completions",status="200"} 2.0' in lines
        assert 'stepsight_requests_total{path="/v1/chat/completions",status="400"} 1.0' in lines
        assert f'stepsight_tokens_total{{kind="discarded"}} {2 * usage["discarded"]}.0' in lines
        assert f'stepsight_tokens_total{{kind="kept"}} {2 * usage["kept"]}.0' in lines
        assert 'stepsight_first_stage_seconds_count{search="stage-beam"} 1.0' in lines
        assert "stepsight_searches_running 0.0" in lines


def test_methods_of_the_docs_are_methods() -> None:
    for text in (
        "stage-beam:4",
        "swires",
        "adaptive:2000tok",
        "vote:8",
        "best-of-n:4",
        "greedy",
        "stage-beam:4+reward",
    ):
        assert parse_method(text).search
