"""A scoring endpoint as a reward model: what is sent, what may come back, and that no bad reply becomes a score."""

from __future__ import annotations

import asyncio
import base64
import io
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.rewards.asking import asked, staged, striped, values
from tests.rewards.fake_endpoint import FakeEndpoint, Reply, by_length

from stepsight.engines.openai.retrying import Backoff
from stepsight.errors import CapabilityError, EngineError, InputError, ModelError, StepsightError
from stepsight.judges.reward import RewardJudge
from stepsight.pictures import load_picture, picture_hash
from stepsight.protocols import Turn, ValueRequest
from stepsight.records import Candidate, Finish, Piece, Question
from stepsight.rewards import EndpointReward
from stepsight.stages import Stage, render_stage
from stepsight.tasks import finished


def at(fake: FakeEndpoint, waits: list[float] | None = None, **options: Any) -> EndpointReward:
    """A reward model there that loses no time between attempts."""

    async def sleep(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)
        await asyncio.sleep(0)

    return EndpointReward(fake.url, backoff=Backoff(attempts=3), sleep=sleep, **options)


VLLM: Any = {"path": "/classify", "told": "/v1/models", "info": {"object": "list", "data": [{"id": "owner/model"}]}}


def classified(*numbers: float) -> dict[str, Any]:
    row = {"index": 0, "label": "LABEL_0", "probs": list(numbers), "num_classes": len(numbers)}
    return {"object": "list", "model": "owner/model", "data": [row], "usage": {"prompt_tokens": 21}}


# What is sent.


async def test_an_item_is_question_pictures_answer_and_stages(tmp_path: Path) -> None:
    picture = striped(tmp_path / "a.png", 20, 10)
    answer = staged("plan", "two cubes")
    request = ValueRequest((Turn("user", "How many?", (picture,)),), (Piece(text=answer[:9]), Piece(text=answer[9:])))
    with FakeEndpoint() as fake:
        (result,) = await values(at(fake), request)
    (item,) = fake.seen[0]["items"]
    assert result.value == len(answer)
    assert (item["question"], item["answer"]) == ("How many?", answer)
    assert list(item["stages"].items()) == [("summary", "plan"), ("caption", "two cubes")]
    data = base64.b64decode(item["images"][0].removeprefix("data:image/png;base64,"), validate=True)
    with Image.open(io.BytesIO(data)) as sent:
        assert picture_hash(sent) == picture_hash(load_picture(picture))


@pytest.mark.parametrize(
    ("answer", "stages"),
    [
        ("no tags at all", None),
        ("<SUMMARY> plan </SUMMARY> and more", None),
        (staged("plan") + "\n\n<CAPTION> One cube.", {"summary": "plan", "caption": "One cube."}),
        ("<CAPTION> b </CAPTION> <SUMMARY> a </SUMMARY>", None),
    ],
)
async def test_stages_are_told_apart_only_where_they_can_be(answer: str, stages: dict[str, str] | None) -> None:
    with FakeEndpoint() as fake:
        await values(at(fake), asked(answer))
    assert fake.seen[0]["items"][0].get("stages") == stages


@settings(max_examples=25)
@given(lengths=st.lists(st.integers(0, 60), max_size=30), batch=st.integers(1, 9))
def test_any_number_of_answers_comes_back_in_order_and_in_bounded_batches(lengths: list[int], batch: int) -> None:
    with FakeEndpoint() as fake:
        results = finished(values(at(fake, batch=batch), *[asked("x" * length) for length in lengths]))
    assert [result.value for result in results] == lengths
    sizes = [len(payload["items"]) for payload in fake.seen]
    assert len(sizes) == math.ceil(len(lengths) / batch)
    assert all(0 < size <= batch for size in sizes)


@settings(max_examples=40)
@given(
    scores=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    question=st.text(max_size=40),
    answer=st.text(max_size=40),
)
def test_texts_and_numbers_survive_the_way(scores: list[float], question: str, answer: str) -> None:
    with FakeEndpoint(lambda payload: {"scores": scores, "tokens": [7] * len(scores)}) as fake:
        results = finished(values(at(fake), *[asked(answer, question)] * len(scores)))
    assert [result.value for result in results] == scores
    assert [result.computed for result in results] == [7] * len(scores)
    for item in fake.seen[0]["items"]:
        assert (item["question"], item["answer"]) == (question, answer)


async def test_a_conversation_is_refused() -> None:
    turns = (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))
    with FakeEndpoint() as fake, pytest.raises(CapabilityError, match="longer conversation"):
        await values(at(fake), ValueRequest(turns, (Piece(text="d"),)))


async def test_the_name_comes_from_the_endpoint() -> None:
    with FakeEndpoint(info={"name": "owner/model", "scale": "probability"}) as fake:
        model = at(fake)
        assert (model.name, model.scale) == (fake.url, "")
        await values(model, asked("x"))
    assert (model.name, model.scale) == ("owner/model", "probability")


# What may come back.


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "no list of scores"),
        ({"scores": 3}, "no list of scores"),
        ({"scores": [1.0]}, "1 scores for 2 answers"),
        ({"scores": [1.0, 2.0, 3.0]}, "3 scores for 2 answers"),
        ({"scores": [1.0, None]}, "score 1 is no number: 'None'"),
        ({"scores": [True, 1.0]}, "score 0 is no number"),
        ({"scores": ["1.0", 1.0]}, "score 0 is no number"),
        ({"scores": [1.0, math.nan]}, "score 1 is nan"),
        ({"scores": [-math.inf, 1.0]}, "score 0 is -inf"),
        ({"scores": [1.0, {"error": "out of memory"}]}, "could not score 1 of 2 answers; the first: out of memory"),
        ({"scores": [1.0, {}]}, "score 1 is no number"),
        ({"scores": [1.0, 2.0], "tokens": [1]}, "tokens"),
    ],
)
async def test_a_reply_that_is_none_is_an_error_by_name(body: dict[str, Any], message: str) -> None:
    with FakeEndpoint(lambda payload: body) as fake, pytest.raises(EngineError, match=message) as caught:
        await values(at(fake), asked("a"), asked("b"))
    assert caught.value.hint
    assert len(fake.seen) == 1, "asking again would not help"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(429, {"error": "slowly"}, {"Retry-After": "0.2"}),
        Reply(500, {"error": "broken"}),
        Reply(503, b"<html>"),
        Reply(cut=4),
        Reply(body=b"[1, 2]"),
        Reply(body=b'{"scores": [1'),
    ],
)
async def test_what_may_pass_is_asked_again(reply: Reply) -> None:
    waits: list[float] = []
    with FakeEndpoint(replies=[reply]) as fake:
        (result,) = await values(at(fake, waits), asked("abc"))
    assert result.value == 3
    assert len(fake.seen) == 2
    assert len(waits) >= 1
    if reply.headers:
        assert waits[0] >= 0.2


async def test_it_is_given_up_in_the_end() -> None:
    again = [Reply(500, {"error": "boom"})] * 9
    with FakeEndpoint(replies=again) as fake, pytest.raises(EngineError, match=r"\(500\): boom, tried 3 times"):
        await values(at(fake), asked("abc"))
    assert len(fake.seen) == 3


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (400, EngineError, r"does not take the request \(400\): told"),
        (401, EngineError, "STEPSIGHT_REWARD_KEY"),
        (404, ModelError, r"no scoring endpoint.*vllm\+"),
        (413, EngineError, "smaller batches"),
        (302, EngineError, "elsewhere"),
    ],
)
async def test_a_refusal_says_the_next_step_and_is_final(status: int, kind: type[StepsightError], message: str) -> None:
    with FakeEndpoint(replies=[Reply(status, {"error": "told"})] * 3) as fake, pytest.raises(kind, match=message):
        await values(at(fake), asked("abc"))
    assert len(fake.seen) == 1


@pytest.mark.parametrize(
    ("info", "message"),
    [({"scale": "unbounded"}, "does not say the model's name"), ({"protocol": 2, "name": "x"}, "version 2")],
)
async def test_an_endpoint_must_say_what_it_is(info: dict[str, Any], message: str) -> None:
    with FakeEndpoint(info=info) as fake, pytest.raises(EngineError, match=message):
        await values(at(fake), asked("x"))
    assert not fake.seen


async def test_nobody_there_is_an_error() -> None:
    with FakeEndpoint() as fake:
        url = fake.url
    with pytest.raises(EngineError, match="cannot be reached"):
        await values(EndpointReward(url, backoff=Backoff(attempts=2, base=0.0)), asked("x"))


async def test_the_key_is_sent_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPSIGHT_API_KEY", "for-the-model")
    monkeypatch.delenv("STEPSIGHT_REWARD_KEY", raising=False)
    with FakeEndpoint() as fake:
        await values(at(fake), asked("x"))
        assert not any("Authorization" in headers for headers in fake.headers)
        monkeypatch.setenv("STEPSIGHT_REWARD_KEY", "for-rewards")
        await values(at(fake), asked("x"))
    assert fake.headers[-1]["Authorization"] == "Bearer for-rewards"


@pytest.mark.parametrize("options", [{"batch": 0}, {"most_at_once": 0}, {"timeout": 0.0}])
def test_numbers_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        EndpointReward("http://localhost:1", **options)


# vLLM.


async def test_vllm_gets_one_conversation_per_request_and_gives_a_logit(tmp_path: Path) -> None:
    picture = striped(tmp_path / "a.png", 20, 10)
    score = lambda payload: classified(len(payload["messages"][-1]["content"]) - 3.5)  # noqa: E731
    with FakeEndpoint(score, **VLLM) as fake:
        model = EndpointReward(f"{fake.url}/v1", dialect="vllm")
        results = await values(model, asked("abc", images=(picture,)), asked("abcde"))
    assert [(result.value, result.computed) for result in results] == [(-0.5, 21), (1.5, 21)]
    assert model.name == "owner/model"
    payload = next(payload for payload in fake.seen if payload["messages"][-1]["content"] == "abc")
    assert (payload["model"], payload["use_activation"], payload["add_generation_prompt"]) == (
        "owner/model",
        False,
        False,
    )
    user, assistant = payload["messages"]
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]
    assert assistant == {"role": "assistant", "content": "abc"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "no rows"),
        ({"data": []}, "no rows"),
        ({"data": [{"index": 0}]}, "no `probs`"),
        (classified(0.2, 0.8), "2 classes"),
        (classified(math.nan), "nan"),
    ],
)
async def test_vllm_replies_that_are_no_reward_are_errors(body: dict[str, Any], message: str) -> None:
    with FakeEndpoint(lambda payload: body, **VLLM) as fake, pytest.raises(StepsightError, match=message):
        await values(at(fake, dialect="vllm"), asked("x"))


async def test_vllm_must_have_the_model() -> None:
    with FakeEndpoint(**VLLM) as fake, pytest.raises(InputError, match="it has: owner/model"):
        await values(at(fake, dialect="vllm", model="other"), asked("x"))


# With the judge.


async def test_a_judge_orders_by_what_the_endpoint_says() -> None:
    texts = ("longest of all", "short", "longer")
    candidates = [
        Candidate(
            id=place,
            stage=Stage.SUMMARY,
            slot=place,
            seed=0,
            piece=Piece(text=render_stage(Stage.SUMMARY, text)),
            finish=Finish.STOP,
            tokens=1,
        )
        for place, text in enumerate(texts)
    ]
    with FakeEndpoint(by_length) as fake:
        model = at(fake)
        verdict = await RewardJudge(model).judge(Question(id="q", text="?"), Stage.SUMMARY, (), candidates)
        await model.aclose()
    assert verdict.order == (0, 2, 1)
    assert verdict.evidence["reward_model"] == "fake"
