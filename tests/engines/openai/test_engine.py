"""The engine against a server with various manners: the same texts, an honest bill, and requests in a good order."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.engines.openai.servers import NO, YES, engine_on, until
from tests.scripts import ANSWER

from stepsight.engines.openai import OpenAIEngine
from stepsight.engines.openai.grammars import FORMS
from stepsight.errors import CapabilityError, EngineError, PictureError
from stepsight.prompts import answer_turns, judge_prompts, pair_turns
from stepsight.protocols import Engine, SampleRequest, ScoreRequest, Turn
from stepsight.records import Finish, Piece, Question
from stepsight.stages import Stage, parse, render_stage
from stepsight.testing import FakeServer, Fault, Manners
from stepsight.testing.model import scripted

SUMMARY = render_stage(Stage.SUMMARY, ANSWER[Stage.SUMMARY])


@pytest.fixture
def question(tmp_path: Path) -> Question:
    path = tmp_path / "red.png"
    Image.new("RGB", (32, 32), "red").save(path)
    return Question(id="q", text="How many are left?", images=(path,))


def stage_request(question: Question, count: int, *, begun: str = "", stop: str = "</SUMMARY>") -> SampleRequest:
    prefix = (Piece(text=begun),) if begun else ()
    return SampleRequest(answer_turns(question), tuple(range(count)), prefix, stop=(stop,), temperature=0.6)


def caption_pair(question: Question) -> ScoreRequest:
    texts = (ANSWER[Stage.CAPTION], ANSWER[Stage.CAPTION].replace("purple", "blue"))
    return ScoreRequest(pair_turns(judge_prompts("paper-1"), question, Stage.CAPTION, {}, *texts), ("1", "2"))


def texts(result: Sequence[object]) -> list[str]:
    return [completion.piece.text for completion in result]  # type: ignore[attr-defined]


async def test_it_is_an_engine_and_says_what_the_probe_saw(question: Question) -> None:
    with FakeServer() as fake:
        async with engine_on(fake, prefix=NO, images=YES, pictures_told_apart=NO) as engine:
            assert isinstance(engine, OpenAIEngine)
            as_engine: Engine = engine
            assert as_engine.name == "openai:scripted-vl"
            can = as_engine.capabilities
            assert (can.prefix, can.images, can.logprobs, can.seeds) == (False, False, True, False)


async def test_one_request_gives_all_choices_and_the_texts_of_the_model_itself(question: Question) -> None:
    request = stage_request(question, 4)
    direct = await scripted().sample(request)
    heard: list[tuple[int, str]] = []
    with FakeServer() as fake:
        async with engine_on(fake) as engine:
            result = await engine.sample(request, lambda slot, text: heard.append((slot, text)))
    assert texts(result.completions) == texts(direct.completions)
    assert [one.tokens for one in result.completions] == [one.tokens for one in direct.completions]
    assert ["".join(text for one, text in heard if one == slot) for slot in range(4)] == [SUMMARY] * 4
    assert len(fake.seen) == 1
    sent = fake.seen[0]
    assert (sent["n"], sent["stop"], sent["temperature"], sent["top_p"]) == (4, ["</SUMMARY>"], 0.6, 0.9)
    assert sent["include_stop_str_in_output"] is True
    assert "seed" not in sent
    assert "continue_final_message" not in sent


async def test_a_prefix_is_continued_and_costs_only_what_is_new(question: Question) -> None:
    with FakeServer() as fake:
        async with engine_on(fake) as engine:
            await engine.sample(stage_request(question, 1))
            result = await engine.sample(stage_request(question, 2, begun=SUMMARY, stop="</CAPTION>"))
    assert fake.seen[1]["messages"][-1] == {"role": "assistant", "content": SUMMARY}
    assert (fake.seen[1]["continue_final_message"], fake.seen[1]["add_generation_prompt"]) == (True, False)
    assert [text.split("\n\n")[1].startswith("<CAPTION>") for text in texts(result.completions)] == [True, True]
    assert result.computed == 0
    assert result.cached > 64


@pytest.mark.parametrize("given", [1, 2])
async def test_choices_are_counted_and_the_missing_ones_asked_for(question: Question, given: int) -> None:
    with FakeServer(Manners(n=given)) as fake:
        async with engine_on(fake, most_at_once=1) as engine:
            result = await engine.sample(stage_request(question, 4, begun=SUMMARY, stop="</CAPTION>"))
    direct = await scripted().sample(stage_request(question, 4, begun=SUMMARY, stop="</CAPTION>"))
    assert texts(result.completions) == texts(direct.completions)
    assert [request.get("n") for request in fake.seen] == [4] + [None] * (4 - given)
    # Every request's prompt is on the bill.
    assert result.computed + result.cached == len(fake.seen) * (direct.computed + direct.cached)


async def test_without_n_one_request_goes_ahead_of_its_siblings(question: Question) -> None:
    answered = threading.Event()
    with FakeServer(Manners(n=1), faults=[Fault(wait=20, until=answered.is_set)]) as fake:
        async with engine_on(fake, n=NO) as engine:
            task = asyncio.create_task(engine.sample(stage_request(question, 4)))
            await until(lambda: fake.seen)
            await asyncio.sleep(0.05)
            assert len(fake.seen) == 1
            answered.set()
            first = await task
            assert (first.computed, first.cached) == (first.computed, 3 * first.computed)
            # The beginning is known now: the next stage, a judge, another question about the picture run at once.
            fake.most_at_once = 0
            fake.faults.extend([Fault(wait=20, until=lambda: fake.most_at_once == 4)] * 4)
            await engine.sample(stage_request(question, 4, begun=SUMMARY, stop="</CAPTION>"))
    assert fake.most_at_once == 4
    assert all("n" not in request for request in fake.seen)


async def test_if_the_first_fails_another_takes_its_place(question: Question) -> None:
    with FakeServer(Manners(n=1), faults=[Fault(400, "no")]) as fake:
        async with engine_on(fake, n=NO) as engine:
            works = [engine.sample(stage_request(question, 1)) for _ in range(3)]
            results = await asyncio.gather(*works, return_exceptions=True)
    # Which of the three is ready to go first is not promised.
    assert sorted(isinstance(result, EngineError) for result in results) == [False, False, True]


@pytest.mark.parametrize("stops", ["included", "named", "cut", "ignored"])
async def test_a_stage_ends_with_its_stop_string_whatever_the_server_does(question: Question, stops: Any) -> None:
    seen: dict[str, Any] = {
        "included": {},
        "named": {"stop_included": NO},
        "cut": {"stop_included": NO, "stop_named": NO},
        "ignored": {"stop_included": NO, "stop_named": NO, "stop_honoured": NO},
    }[stops]
    request = stage_request(question, 3, begun=SUMMARY, stop="</CAPTION>")
    direct = await scripted().sample(request)
    with FakeServer(Manners(stops=stops)) as fake:
        async with engine_on(fake, **seen) as engine:
            result = await engine.sample(request)
    assert texts(result.completions) == texts(direct.completions)
    assert {one.finish for one in result.completions} == {Finish.STOP}
    sent = stops in ("included", "named")
    assert ("stop" in fake.seen[0]) == sent
    longer = [one.tokens > other.tokens for one, other in zip(result.completions, direct.completions, strict=True)]
    assert longer == [not sent] * 3  # what was written beyond the stop is on the bill


async def test_the_end_of_the_turn_is_not_taken_for_a_stop_string(question: Question) -> None:
    request = stage_request(question, 1, stop="</NEVER>")
    trials: list[tuple[Manners, dict[str, Any]]] = [
        (Manners(stops="named"), {"stop_included": NO}),
        (Manners(stops="included"), {}),
    ]
    for manners, seen in trials:
        with FakeServer(manners) as fake:
            async with engine_on(fake, **seen) as engine:
                (completion,) = (await engine.sample(request)).completions
        assert completion.piece.text.endswith("</CONCLUSION>")
        assert completion.finish is Finish.STOP


async def test_the_token_limit_is_a_reason_of_its_own(question: Question) -> None:
    request = SampleRequest(answer_turns(question), (0,), max_tokens=3, stop=("</SUMMARY>",))
    with FakeServer() as fake:
        async with engine_on(fake) as engine:
            (completion,) = (await engine.sample(request)).completions
    assert (completion.finish, completion.tokens) == (Finish.LENGTH, 3)


async def test_log_probabilities_of_candidates_are_given_only_if_they_are_the_models_own(question: Question) -> None:
    request = stage_request(question, 2)
    with FakeServer() as fake:
        async with engine_on(fake) as engine:
            own = (await engine.sample(request)).completions
        async with engine_on(fake, untempered=NO) as engine:
            tempered = (await engine.sample(request)).completions
    assert [one.logprob for one in own] == [-0.5 * one.tokens for one in own]
    assert [one.logprob for one in tempered] == [None, None]
    assert "logprobs" not in fake.seen[-1]


async def test_seeds_are_sent_only_where_they_were_seen_to_repeat(question: Question) -> None:
    request = SampleRequest(answer_turns(question), (7, 8), temperature=0.6)
    with FakeServer() as fake:
        async with engine_on(fake, seeds=YES) as engine:
            assert engine.capabilities.seeds
            one = await engine.sample(request)
            again = await engine.sample(request)
            await engine.sample(SampleRequest(answer_turns(question), (9,), temperature=0.0))
    assert texts(one.completions) == texts(again.completions)
    assert sorted(sent["seed"] for sent in fake.seen[:2]) == [7, 8]
    assert "seed" not in fake.seen[-1]
    assert all("n" not in sent for sent in fake.seen)


async def test_options_are_scored_in_order_and_at_once(question: Question) -> None:
    yes_no = ScoreRequest((Turn("user", "Is it so? Reply with yes or no"),), ("yes", "no"))
    requests = [caption_pair(question), yes_no] * 4
    direct = await scripted().score(requests)
    with FakeServer() as fake:
        async with engine_on(fake) as engine:
            await engine.score(requests[:2])
            fake.most_at_once = 0
            fake.faults.extend([Fault(wait=20, until=lambda: fake.most_at_once == 8)] * 8)
            results = await engine.score(requests)
    assert [result.logprobs for result in results] == [result.logprobs for result in direct]
    assert fake.most_at_once == 8
    sent = fake.seen[0]
    assert (sent["max_tokens"], sent["logprobs"], sent["top_logprobs"], sent["temperature"]) == (1, True, 20, 1.0)


async def test_an_option_that_is_not_listed_is_bounded(question: Question) -> None:
    request = ScoreRequest(caption_pair(question).turns, ("1", "neither"))
    with FakeServer() as fake:
        async with engine_on(fake) as engine:
            (result,) = await engine.score([request])
    assert result.logprobs == (-0.2, -6.0)
    assert math.isfinite(sum(result.logprobs))


async def test_what_the_server_cannot_is_refused_with_the_reason(question: Question) -> None:
    with FakeServer() as fake:
        async with engine_on(fake, prefix=NO, logprobs=NO) as engine:
            with pytest.raises(CapabilityError, match=r"seen not to.*best-of-n"):
                await engine.sample(stage_request(question, 1, begun=SUMMARY))
            with pytest.raises(CapabilityError, match=r"seen not to.*written"):
                await engine.score([caption_pair(question)])
        async with engine_on(fake) as engine:
            with pytest.raises(CapabilityError, match="same token"):
                await engine.score([ScoreRequest(caption_pair(question).turns, ("10", "12"))])
            with pytest.raises(PictureError):
                await engine.sample(stage_request(question.model_copy(update={"images": (Path("gone.png"),)}), 1))


async def test_logprobs_that_vanish_are_an_error(question: Question) -> None:
    with FakeServer(Manners(logprobs=0)) as fake:
        async with engine_on(fake) as engine:
            with pytest.raises(EngineError, match="no log-probabilities"):
                await engine.score([caption_pair(question)])


async def test_one_failure_cancels_the_other_requests(question: Question) -> None:
    with FakeServer(Manners(n=1)) as fake:
        async with engine_on(fake, n=NO) as engine:
            await engine.sample(stage_request(question, 1))
            fake.faults.extend([Fault(400, "no", wait=20, until=lambda: len(fake.seen) == 5), *[Fault(wait=20)] * 3])
            with pytest.raises(EngineError, match="does not take the request"):
                await engine.sample(stage_request(question, 4))
            await until(lambda: fake.gone == 3)


def test_each_event_loop_has_its_own_connections(question: Question) -> None:
    with FakeServer() as fake:
        engine: list[OpenAIEngine] = []

        async def once() -> str:
            async with engine_on(fake) as made:
                engine.append(made)
                result = await engine[0].sample(stage_request(question, 1))
                await engine[0].aclose()
                return result.completions[0].piece.text

        assert [asyncio.run(once()) for _ in range(2)] == [SUMMARY, SUMMARY]


@pytest.mark.parametrize("key", ["structured_outputs", "guided_regex", "regex", "grammar"])
async def test_a_staged_request_says_the_form_in_the_field_that_the_server_reads(key: Any) -> None:
    request = SampleRequest((Turn("user", "What?"),), (0,), stop=("</CONCLUSION>",), staged=True)
    with FakeServer(Manners(grammar=key), write=lambda request, slot, seed: "no form at all") as fake:
        async with engine_on(fake, grammar=YES, grammar_key=key) as engine:
            assert engine.capabilities.grammar
            held = (await engine.sample(request)).completions[0].piece.text
            free = (await engine.sample(replace(request, staged=False))).completions[0].piece.text
    assert parse(held).valid
    assert free == "no form at all"
    told = [{name: body[name] for name in FORMS if name in body} for body in fake.seen]
    assert told == [{key: FORMS[key]}, {}]


async def test_a_server_without_a_grammar_or_a_prefix_with_one_is_refused() -> None:
    request = SampleRequest((Turn("user", "What?"),), (0,), staged=True)
    with FakeServer(Manners(grammar="")) as fake:
        async with engine_on(fake, grammar=NO) as engine:
            with pytest.raises(CapabilityError, match="seen not to"):
                await engine.sample(request)
        async with engine_on(fake, grammar=YES, grammar_key="regex") as engine:
            with pytest.raises(CapabilityError, match="go on with a text"):
                await engine.sample(replace(request, prefix=(Piece(text="<SUMMARY>"),)))
    assert fake.seen == []
