"""Searches over pico behind a real vLLM, held against the same model in this process.

benchmarks/with_vllm.sh starts the server and names it in STEPSIGHT_VLLM; without one there is nothing to test.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from stepsight.assembly import LoadedModel, ModelChoice, build_judge, load_model
from stepsight.protocols import SearchSettings
from stepsight.records import Question, Trace
from stepsight.search import strategy
from stepsight.stages import parse
from stepsight.world.split import load_questions, save_split

URL = os.environ.get("STEPSIGHT_VLLM", "")

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not URL, reason="no server: run benchmarks/with_vllm.sh, which sets STEPSIGHT_VLLM"),
]


@pytest.fixture(scope="module")
def here() -> LoadedModel:
    return load_model(ModelChoice())


@pytest.fixture(scope="module")
def there(here: LoadedModel) -> LoadedModel:
    return load_model(ModelChoice(server=URL, judge_prompts=here.card.judge_prompts))


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> list[Question]:
    return load_questions(save_split("test", seed=23, count=12, out=Path(tmp_path_factory.mktemp("drawn"))))


def run(model: LoadedModel, questions: list[Question], name: str, settings: SearchSettings) -> list[Trace]:
    judge = build_judge("self", model, search=name, width=settings.width)

    async def answers() -> list[Trace]:
        try:
            search = strategy(name)
            return list(await asyncio.gather(*(search(one, model.engine, judge, settings) for one in questions)))
        finally:
            await model.aclose()

    return asyncio.run(answers())


def test_the_probe_finds_what_a_search_needs(there: LoadedModel) -> None:
    assert there.probe is not None
    can = there.probe.capabilities
    assert can.prefix
    assert can.logprobs
    assert can.images


def test_greedy_answers_are_the_same_text(here: LoadedModel, there: LoadedModel, questions: list[Question]) -> None:
    settings = SearchSettings(width=1, temperature=0.0, max_tokens=400)
    ours, theirs = (run(model, questions, "greedy", settings) for model in (here, there))
    same = [one.text == other.text for one, other in zip(ours, theirs, strict=True)]
    # The kernels round differently; a near tie between two tokens may fall to either.
    assert sum(same) >= len(same) - 2


def test_a_stage_beam_answers_in_four_stages(there: LoadedModel, questions: list[Question]) -> None:
    traces = run(there, questions, "stage-beam", SearchSettings(width=4, max_tokens=400))
    assert sum(parse(trace.text).valid for trace in traces) >= len(traces) - 2
    assert all(trace.verdicts for trace in traces)
    # The server says how much of a prompt it had already.
    assert sum(trace.usage.cached for trace in traces) > 0
