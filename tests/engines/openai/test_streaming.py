"""Streamed replies: told while they are written, the same as unstreamed ones in the end, and never half an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.engines.openai.servers import NO, engine_on, until
from tests.scripts import ANSWER

from stepsight.engines.openai.address import Key
from stepsight.engines.openai.replies import cut_at_stop
from stepsight.engines.openai.streaming import BadStreamError, Teller, whole_reply
from stepsight.errors import EngineError
from stepsight.prompts import answer_turns
from stepsight.protocols import SampleRequest, SampleResult
from stepsight.records import Finish, Piece, Question
from stepsight.stages import Stage, render_stage
from stepsight.testing import FakeServer, Fault, Manners

SUMMARY = render_stage(Stage.SUMMARY, ANSWER[Stage.SUMMARY])
SEEN: dict[str, dict[str, Any]] = {
    "included": {},
    "named": {"stop_included": NO},
    "cut": {"stop_included": NO, "stop_named": NO},
    "ignored": {"stop_included": NO, "stop_named": NO, "stop_honoured": NO},
}


@pytest.fixture
def question(tmp_path: Path) -> Question:
    path = tmp_path / "red.png"
    Image.new("RGB", (32, 32), "red").save(path)
    return Question(id="q", text="How many are left?", images=(path,))


def captions(question: Question, slots: int, temperature: float = 0.6) -> SampleRequest:
    return SampleRequest(
        answer_turns(question),
        tuple(range(slots)),
        (Piece(text=SUMMARY),),
        stop=("</CAPTION>",),
        temperature=temperature,
    )


class Heard:
    """Collects what is told of each slot."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, str]] = []

    def __call__(self, slot: int, text: str) -> None:
        self.pieces.append((slot, text))

    def text(self, slot: int = 0) -> str:
        return "".join(text for one, text in self.pieces if one == slot)


def is_what_was_told(result: SampleResult, heard: Heard) -> bool:
    return [heard.text(slot) for slot in range(len(result.completions))] == [
        one.piece.text for one in result.completions
    ]


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("stops", SEEN)
async def test_the_result_is_that_without_a_stream_and_what_was_told(
    question: Question, stops: Any, slots: int
) -> None:
    heard = Heard()
    with FakeServer(Manners(stops=stops)) as fake:
        async with engine_on(fake, **SEEN[stops]) as engine:
            streamed = await engine.sample(captions(question, slots), heard)
    with FakeServer(Manners(stops=stops)) as other:
        async with engine_on(other, **SEEN[stops]) as engine:
            plain = await engine.sample(captions(question, slots))
    assert streamed == plain
    assert all(one.finish is Finish.STOP and one.logprob is not None for one in streamed.completions)
    assert streamed.computed > 0
    assert is_what_was_told(streamed, heard)
    assert len(heard.pieces) > 8 * slots
    assert (fake.seen[0]["stream"], fake.seen[0]["stream_options"]) == (True, {"include_usage": True})
    assert not any(key.startswith("stream") for key in other.seen[0])


async def test_nothing_is_streamed_where_the_probe_did_not_see_it(question: Question) -> None:
    heard = Heard()
    with FakeServer() as fake:
        async with engine_on(fake, streams=NO) as engine:
            result = await engine.sample(captions(question, 2), heard)
    assert "stream" not in fake.seen[0]
    assert is_what_was_told(result, heard)
    assert len(heard.pieces) == 2


async def test_text_is_told_before_the_reply_is_whole_and_cancelling_hangs_up_at_once(question: Question) -> None:
    heard, sent = Heard(), count()
    with FakeServer(faults=[Fault(pause=60, until=lambda: next(sent) < 8)]) as fake:
        async with engine_on(fake) as engine:
            task = asyncio.create_task(engine.sample(captions(question, 1), heard))
            await until(lambda: len(heard.pieces) > 4)
            assert not fake.gone
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: fake.gone)
            assert engine.link.window.busy == 0


BROKEN = {
    "cut early": Fault(cut=300),
    "cut in the middle": Fault(cut=3000),
    "an event that is no JSON": Fault(spoilt=7),
    "an event that is no object": Fault(last="[]"),
    "a choice without a number": Fault(last='{"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}'),
    "an error": Fault(last='{"error": {"message": "out of memory", "code": 500}}'),
    "ended by nobody": Fault(events=12),
    "ended without a reason": Fault(last="[DONE]"),
    "never begun": Fault(events=0),
}


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
async def test_a_broken_stream_is_asked_for_again_and_nothing_is_told_twice(
    question: Question, fault: Fault, slots: int
) -> None:
    heard = Heard()
    with FakeServer(faults=[fault, fault]) as fake:
        async with engine_on(fake) as engine:
            result = await engine.sample(captions(question, slots, temperature=0.0), heard)
    assert len(fake.seen) == 3
    assert all(one.piece.text.endswith("</CAPTION>") for one in result.completions)
    assert is_what_was_told(result, heard)


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
async def test_half_an_answer_is_never_kept(question: Question, fault: Fault) -> None:
    with FakeServer(faults=[fault] * 9) as fake:
        async with engine_on(fake) as engine:
            with pytest.raises(EngineError, match="tried 3 times") as caught:
                await engine.sample(captions(question, 1), Heard())
    assert caught.value.retryable
    assert len(fake.seen) == 3


async def test_a_lasting_error_within_a_stream_is_not_asked_again(question: Question) -> None:
    with FakeServer(faults=[Fault(last='{"error": {"message": "bad field", "code": 400}}')]) as fake:
        async with engine_on(fake) as engine:
            with pytest.raises(EngineError, match="bad field") as caught:
                await engine.sample(captions(question, 1), Heard())
    assert not caught.value.retryable
    assert len(fake.seen) == 1


async def test_where_a_new_text_differs_no_more_is_told_and_the_result_holds_it(question: Question) -> None:
    heard = Heard()
    with FakeServer(faults=[Fault(), Fault(events=24)]) as fake:
        async with engine_on(fake) as engine:
            await engine.sample(captions(question, 1))
            result = await engine.sample(captions(question, 1), heard)  # the second text says blue, the third purple
    text = result.completions[0].piece.text
    assert "purple" in text
    assert "blue" in heard.text()
    assert not text.startswith(heard.text())
    assert not heard.text().endswith("</CAPTION>")


@pytest.mark.parametrize("given", [1, 2])
async def test_choices_that_are_missing_are_streamed_one_by_one(question: Question, given: int) -> None:
    heard = Heard()
    with FakeServer(Manners(n=given)) as fake:
        async with engine_on(fake, most_at_once=1) as engine:
            result = await engine.sample(captions(question, 4), heard)
    assert [request.get("n") for request in fake.seen] == [4] + [None] * (4 - given)
    assert all(request["stream"] for request in fake.seen)
    assert is_what_was_told(result, heard)


async def test_a_server_that_replies_in_one_go_after_all_is_taken_at_that(question: Question) -> None:
    heard = Heard()
    with FakeServer(Manners(streams="never")) as fake:
        async with engine_on(fake) as engine:
            result = await engine.sample(captions(question, 2), heard)
    assert is_what_was_told(result, heard)
    assert len(fake.seen) == 1


async def test_a_connection_is_used_again_after_a_stream(question: Question) -> None:
    with FakeServer() as fake:
        async with engine_on(fake) as engine:
            for _ in range(3):
                await engine.sample(captions(question, 1), Heard())
    assert fake.connections == 1


# The reading of events alone.


def stream_of(*events: object, done: bool = True) -> bytes:
    told = [event if isinstance(event, str) else json.dumps(event, ensure_ascii=False) for event in events]
    return "".join(f"data: {event}\n\n" for event in (*told, *(["[DONE]"] if done else []))).encode()


def part(text: str | None, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}


async def read(chunks: Iterable[bytes]) -> tuple[Any, list[tuple[int, str]]]:
    heard: list[tuple[int, str]] = []

    async def coming() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    reply = await whole_reply(
        coming(), lambda index, text: heard.append((index, text)), model="m", url="http://host/v1", key=Key()
    )
    return reply, heard


@given(text=st.text(min_size=1, max_size=40), size=st.integers(1, 60), crlf=st.booleans())
async def test_it_does_not_matter_how_the_network_cuts_a_stream(text: str, size: int, crlf: bool) -> None:
    events = [part(sign) for sign in text]
    data = b": keep alive\n\nevent: message\nid: 3\n" + stream_of(*events, part(None, "length"), USAGE)
    if crlf:
        data = data.replace(b"\n", b"\r\n")
    reply, heard = await read(data[start : start + size] for start in range(0, len(data), size))
    assert reply["choices"][0]["message"]["content"] == text
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"] == USAGE["usage"]
    assert heard == [(0, text[:end]) for end in range(1, len(text) + 1)]


async def test_the_mark_of_the_end_or_the_usage_must_come() -> None:
    whole = [part("a"), part(None, "stop")]
    assert (await read([stream_of(*whole, USAGE, done=False)]))[0]["usage"]
    assert (await read([stream_of(*whole, USAGE, done=False).rstrip()]))[0]["usage"]
    assert (await read([stream_of(*whole)]))[0]["usage"] is None
    for lacking in (
        stream_of(*whole, done=False),
        stream_of(part("a"), USAGE),
        stream_of(*whole, part("b", index=1), USAGE),
        stream_of(part("b", "stop", index=1), USAGE),
        stream_of(USAGE),
        b"",
    ):
        with pytest.raises(BadStreamError) as caught:
            await read([lacking])
        assert caught.value.error.retryable


@given(
    parts=st.lists(st.sampled_from(["a", "</", "S>", "</S>", ".", " "]), max_size=12),
    stop=st.sampled_from([(), ("</S>",), (".", "</S>")]),
)
def test_what_is_told_is_the_text_up_to_its_stop_string(parts: list[str], stop: tuple[str, ...]) -> None:
    told: list[str] = []
    teller = Teller(lambda slot, text: told.append(text), stop, (3,))
    text = ""
    for one in parts:
        text += one
        teller.hear(0, text)
        teller.hear(1, text)  # one more than was asked for
    assert "".join(told) == text[: cut_at_stop(text, stop)]
