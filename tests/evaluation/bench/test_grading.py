"""A judge of answers over real HTTP: every kind of question, what is kept, and what failing comes to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pytest

from stepsight.engines.openai import OpenAIEngine, ProbeReport, Server
from stepsight.engines.openai.retrying import Backoff
from stepsight.evaluation.bench.grading import GIVE_UP, Grader
from stepsight.evaluation.bench.verdicts import Verdicts
from stepsight.evaluation.scoring.readings import Ask
from stepsight.prompts.grading import grading_prompts
from stepsight.testing import FakeServer, Fault

OPTIONS = {"A": "a red cube", "B": "a ball"}
OPTION = Ask(kind="option", dataset="MMStar", index="1", question="What?", prediction="a ball", options=OPTIONS)
YES_NO = Ask(kind="yes-no", dataset="HallusionBench", index="1", question="Is it?", prediction="I say: **Yes**")
VALUE = Ask(kind="value", dataset="MathVista_MINI", index="1", question="How many?", prediction="There are 4 left")
GRADE = Ask(kind="grade", dataset="MMVet", index="1", question="x?", prediction="-1 it is", answer="-1<AND>-5")


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


Make = Callable[[str], Grader]


@pytest.fixture
async def grader(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes graders that share a folder of verdicts."""
    engines: list[OpenAIEngine] = []

    def make(url: str) -> Grader:
        server = Server(url, "scripted-vl", backoff=Backoff(attempts=2, base=0.01))
        engines.append(OpenAIEngine(server, ProbeReport(url=url, model="scripted-vl", at="now")))
        return Grader(engines[-1], grading_prompts("grading-1"), Verdicts(tmp_path))

    yield make
    for engine in engines:
        await engine.aclose()


@pytest.mark.parametrize(
    ("ask", "wanted"),
    [
        (OPTION, "B"),
        (OPTION.model_copy(update={"prediction": "neither of them"}), "Z"),
        (YES_NO, "Yes"),
        (YES_NO.model_copy(update={"prediction": "who knows"}), "Unknown"),
        (VALUE, "4"),
        (GRADE, "0.5"),
        (GRADE.model_copy(update={"answer": "-1<OR>-5"}), "1.0"),
        (GRADE.model_copy(update={"prediction": "{braces} and nothing"}), "0.0"),
    ],
)
async def test_every_kind_of_question_is_asked_and_read(ask: Ask, wanted: str, fake: FakeServer, grader: Make) -> None:
    judge = grader(fake.url)
    assert await judge(ask) == wanted
    (sent,) = fake.seen
    assert "picture" in sent["messages"][0]["content"]
    assert ask.prediction in sent["messages"][0]["content"]
    assert (judge.told.replied, judge.told.remembered) == (1, 0)


async def test_what_was_said_once_is_remembered_by_others(fake: FakeServer, grader: Make) -> None:
    assert await grader(fake.url)(OPTION) == "B"
    again = grader(fake.url)
    assert await again(OPTION) == "B"
    assert (len(fake.seen), again.told.remembered) == (1, 1)
    # Another text, another model or another limit of tokens is another question.
    await again(OPTION.model_copy(update={"prediction": "a red cube"}))
    await replace(again, max_tokens=99)(OPTION)
    assert len(fake.seen) == 3


async def test_a_verdict_that_is_torn_is_asked_for_again(fake: FakeServer, grader: Make, tmp_path: Path) -> None:
    await grader(fake.url)(OPTION)
    (kept,) = tmp_path.rglob("*.json")
    kept.write_bytes(kept.read_bytes()[:40])
    assert await grader(fake.url)(OPTION) == "B"
    assert len(fake.seen) == 2


async def test_a_file_that_holds_another_question_is_not_believed(
    fake: FakeServer, grader: Make, tmp_path: Path
) -> None:
    judge = grader(fake.url)
    await judge(OPTION)
    (kept,) = tmp_path.rglob("*.json")
    await judge(GRADE)
    (other,) = set(tmp_path.rglob("*.json")) - {kept}
    kept.write_bytes(other.read_bytes())
    assert await judge(OPTION) == "B"


async def test_a_passing_fault_is_overcome(grader: Make) -> None:
    with FakeServer(faults=[Fault(500)]) as fake:
        judge = grader(fake.url)
        assert await judge(GRADE) == "0.5"
        assert judge.told.failed == 0


async def test_a_judge_that_fails_says_nothing_and_is_asked_again_next_time(grader: Make, tmp_path: Path) -> None:
    with FakeServer(faults=[Fault(500), Fault(500)]) as fake:
        judge = grader(fake.url)
        assert await judge(GRADE) is None
        assert (judge.told.failed, "500" in judge.told.why) == (1, True)
        assert not list(tmp_path.rglob("*.json"))
        assert await grader(fake.url)(GRADE) == "0.5"


async def test_a_dead_judge_is_not_waited_for_a_thousand_times(grader: Make) -> None:
    with FakeServer(faults=repeat(Fault(500))) as fake:
        judge = grader(fake.url)
        for number in range(50):
            assert await judge(GRADE.model_copy(update={"prediction": f"{number}"})) is None
        assert judge.told.failed == 50
        assert len(fake.seen) == 2 * GIVE_UP


async def test_a_reply_that_cannot_be_read_is_asked_for_again_and_then_given_up(grader: Make) -> None:
    with FakeServer(write=lambda request, slot, seed: "It depends.") as fake:
        judge = grader(fake.url)
        ask = GRADE.model_copy(update={"temperatures": (0.0, 0.5, 1.0)})
        assert await judge(ask) is None
        assert [sent["temperature"] for sent in fake.seen] == [0.0, 0.5, 1.0]
        assert (judge.told.unreadable, judge.told.replied, judge.told.failed) == (1, 3, 0)


async def test_the_same_question_is_put_again_at_the_same_temperature(grader: Make) -> None:
    replies = iter(["what?", "hm", "B"])
    with FakeServer(write=lambda request, slot, seed: next(replies)) as fake:
        judge = grader(fake.url)
        assert await judge(OPTION.model_copy(update={"temperatures": (0.0, 0.0, 0.0)})) == "B"
        assert judge.told.replied == 3
