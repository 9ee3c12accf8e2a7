"""Whole searches over HTTP give the texts, verdicts and bill of the engine behind the server."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from tests.engines.openai.servers import NO, engine_on
from tests.scripts import ANSWER

from stepsight.errors import CapabilityError
from stepsight.judges import LikelihoodJudge, SelfJudge, VoteJudge, WrittenJudge
from stepsight.judges.reading import malformed
from stepsight.prompts import judge_prompts
from stepsight.protocols import Engine, Judge, SearchSettings
from stepsight.records import Finish, Question, Trace
from stepsight.reports.tree import tree_of
from stepsight.search import STRATEGIES
from stepsight.stages import parse
from stepsight.testing import FakeServer, Fault, Manners
from stepsight.testing.model import scripted

SETTINGS = SearchSettings(width=3, max_tokens=300)


@pytest.fixture
def question(tmp_path: Path) -> Question:
    path = tmp_path / "red.png"
    Image.new("RGB", (32, 32), "red").save(path)
    return Question(id="q", text="How many are left?", images=(path,))


def judge_for(engine: Engine, name: str) -> Judge:
    prompts = judge_prompts("paper-1")
    judges: dict[str, Judge] = {
        # The engine behind the server gives no log-probabilities of what it wrote; the server makes some up.
        "self": SelfJudge(engine, prompts, ties="log-odds"),
        "written": WrittenJudge(engine, prompts, ties="log-odds", max_tokens=64),
        "vote": VoteJudge(),
    }
    return judges[name]


async def searched(engine: Engine, question: Question, search: str, judge: str, **options: Any) -> Trace:
    return await STRATEGIES[search](question, engine, judge_for(engine, judge), replace(SETTINGS, **options))


def told(trace: Trace) -> object:
    """All that must not depend on there being a server between."""
    candidates = [one.model_copy(update={"logprob": None}) for one in trace.candidates]
    orders = [(verdict.order, verdict.comparisons, verdict.unreadable, verdict.calls) for verdict in trace.verdicts]
    return candidates, orders, trace.chosen, trace.text


PAIRS = [
    ("greedy", "self"),
    ("best-of-n", "self"),
    ("best-of-n", "vote"),
    ("best-of-n", "written"),
    ("stage-beam", "self"),
    ("stage-beam", "written"),
]


@pytest.mark.parametrize(("search", "judge"), PAIRS)
async def test_a_search_over_http_is_the_search_itself(question: Question, search: str, judge: str) -> None:
    direct = await searched(scripted(), question, search, judge)
    with FakeServer() as fake:
        async with engine_on(fake) as engine:
            trace = await searched(engine, question, search, judge)
    assert told(trace) == told(direct)
    assert trace.settings["engine"] == "openai:scripted-vl"
    assert trace.usage.kept == direct.usage.kept
    assert parse(trace.text).stages == dict(ANSWER)


@pytest.mark.parametrize("stops", ["named", "cut", "ignored"])
async def test_the_search_does_not_depend_on_how_stop_strings_are_treated(question: Question, stops: Any) -> None:
    direct = await searched(scripted(), question, "stage-beam", "self")
    unseen: dict[str, Any] = {"stop_included": NO} | (
        {} if stops == "named" else {"stop_named": NO, "stop_honoured": NO}
    )
    with FakeServer(Manners(stops=stops)) as fake:
        async with engine_on(fake, **unseen) as engine:
            trace = await searched(engine, question, "stage-beam", "self")
    assert trace.text == direct.text
    assert trace.chosen == direct.chosen


async def test_faults_on_the_way_change_nothing(question: Question) -> None:
    direct = await searched(scripted(), question, "stage-beam", "self")
    bumps = [Fault(429, headers={"Retry-After": "1"}), Fault(cut=0), Fault(), Fault(cut=30), Fault(500), Fault()]
    with FakeServer(faults=bumps * 3) as fake:
        async with engine_on(fake, most_at_once=1, attempts=9) as engine:
            trace = await searched(engine, question, "stage-beam", "self")
    # A reply that was cut short was sampled all the same, so candidates may be others; the answer is not.
    assert parse(trace.text).stages.keys() == parse(direct.text).stages.keys()
    assert len(trace.candidates) == len(direct.candidates)


async def test_a_search_that_needs_more_is_refused_before_anything_is_sent(question: Question) -> None:
    with FakeServer() as fake:
        async with engine_on(fake, prefix=NO) as engine:
            with pytest.raises(CapabilityError, match=r"stage-beam continues.*best-of-n"):
                await searched(engine, question, "stage-beam", "self")
            assert fake.seen == []
            assert parse((await searched(engine, question, "best-of-n", "self")).text).valid
        async with engine_on(fake, logprobs=NO) as engine:
            with pytest.raises(CapabilityError, match=r"'self' reads log-probabilities.*'written'"):
                judge_for(engine, "self")
        before = len(fake.seen)
        async with engine_on(fake, pictures_told_apart=NO) as engine:
            with pytest.raises(CapabilityError, match="has a picture"):
                await searched(engine, question, "greedy", "self")
        assert len(fake.seen) == before


async def test_the_likelihood_judge_reads_the_servers_log_probabilities(question: Question) -> None:
    with FakeServer() as fake:
        async with engine_on(fake) as engine:
            trace = await STRATEGIES["stage-beam"](question, engine, LikelihoodJudge(), SETTINGS)
    assert all(one.logprob == -0.5 * one.tokens for one in trace.candidates)


async def test_the_servers_reason_for_a_failure_is_in_the_trace_and_shown(question: Question) -> None:
    with FakeServer(Manners(finish="content_filter", stops="cut")) as fake:
        async with engine_on(fake, stop_included=NO, stop_named=NO, stop_honoured=NO) as engine:
            trace = await searched(engine, question, "greedy", "self")
            # Whole answers come to their stop string all the same; one that does not is told apart by its reason.
            cut = await searched(engine, question, "greedy", "self", max_tokens=3)
    assert {one.reason for one in trace.candidates} == {""}
    (failed,) = cut.candidates
    assert (failed.finish, failed.reason) == (Finish.ERROR, "content_filter")
    assert malformed(failed) == "the engine reported an error: content_filter"
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(tree_of(cut))
    assert "failed: content_filter" in console.export_text()
    # Traces from before reasons were kept.
    old = json.loads(cut.model_dump_json())
    del old["candidates"][0]["reason"]
    assert Trace.model_validate(old).candidates[0].reason == ""
