"""Runs over many questions: resumable, independent of concurrency and order, honest about what failed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles import DreamEngine, quality

from stepsight.errors import EngineError, InputError, PictureError, StepsightError, TooLongError
from stepsight.evaluation import EvaluationReport, Progress, compare, evaluate
from stepsight.jsonl import read_jsonl
from stepsight.judges import LikelihoodJudge, SelfJudge
from stepsight.prompts import judge_prompts
from stepsight.protocols import OnText, SampleRequest, SampleResult, SearchSettings
from stepsight.records import Question, Trace
from stepsight.search import best_of_n, greedy, stage_beam
from stepsight.stages import Stage, conclusion

WIDE = SearchSettings(width=3, seed=4)


def questions(count: int) -> list[Question]:
    return [
        Question(
            id=f"q{number}",
            text=f"How many in {number}?",
            answer=None if number % 5 == 4 else f"conclusion q{number}",
            meta={"family": "even" if number % 2 == 0 else "odd", "nested": {"a": (1, 2)}},
        )
        for number in range(count)
    ]


def results(report: EvaluationReport) -> dict[str, Any]:
    return report.model_dump(exclude={"seconds": True, "resumed": True, "rows": {"__all__": {"seconds"}}})


@dataclass
class Flaky(DreamEngine):
    """Fails on the questions named in `broken`; keeps how many were under way at once."""

    broken: Mapping[str, StepsightError] = field(default_factory=dict)
    under_way: int = 0
    most: int = 0

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        for text, error in self.broken.items():
            if text in request.turns[0].text:
                raise error
        return await super().sample(request)


@given(concurrency=st.integers(1, 9), data=st.data(), faulty=st.sampled_from([0.0, 0.3]))
@settings(max_examples=20)
async def test_neither_concurrency_nor_order_changes_a_result(
    concurrency: int, data: st.DataObject, faulty: float
) -> None:
    asked = questions(7)
    mixed = data.draw(st.permutations(asked))
    one = await evaluate(asked, Flaky(faulty=faulty), LikelihoodJudge(), stage_beam, WIDE, concurrency=1)
    engine = Flaky(faulty=faulty)
    many = await evaluate(mixed, engine, LikelihoodJudge(), stage_beam, WIDE, concurrency=concurrency)
    assert results(one) == results(many)
    assert engine.most == min(concurrency, 7)


async def test_the_report_adds_up() -> None:
    engine = DreamEngine(faulty=0.15)
    judge = SelfJudge(engine, judge_prompts("short-2"))
    report = await evaluate(questions(30), engine, judge, best_of_n, WIDE, concurrency=4)
    assert report.usage.total.kept + report.usage.total.discarded == engine.generated
    assert report.usage.mean is not None
    assert report.usage.mean["kept"] == pytest.approx(report.usage.total.kept / 30)
    assert report.usage.total.judge == 7 * sum(map(len, engine.scored))
    assert report.judging.calls == sum(map(len, engine.scored))
    assert report.accuracy.n == 24  # every fifth has no known answer
    assert report.format_valid.n == 30
    assert report.caption_true.n == report.reasoning_true.n == 0
    assert report.caption_true.value is None
    assert {name: share.n for name, share in report.families.items()} == {"even": 12, "odd": 12}
    assert {name: share.n for name, share in report.asked_as.items()} == {"free answer": 24, "multiple choice": 0}
    assert sum(report.faults.values()) >= sum(not row.valid for row in report.rows)
    assert (report.strategy, report.judge, report.seed) == ("best-of-n", "self", 4)
    assert EvaluationReport.model_validate_json(report.to_json()) == report


async def test_accuracy_is_parted_by_whether_there_were_options() -> None:
    asked = [
        one.model_copy(update={"answer": "A", "choices": ("red", "blue")} if place % 2 else {"answer": "nothing"})
        for place, one in enumerate(questions(6))
    ]
    report = await evaluate(asked, DreamEngine(), None, greedy, WIDE, concurrency=2)
    parts = report.asked_as
    assert [parts[name].n for name in ("free answer", "multiple choice")] == [3, 3]
    chosen = [row.correct for row in report.rows if row.multiple_choice]
    assert parts["multiple choice"].value == pytest.approx(sum(map(bool, chosen)) / 3)
    assert parts["free answer"].value == 0.0


async def test_the_report_says_what_greedy_really_used() -> None:
    report = await evaluate(questions(2), DreamEngine(), LikelihoodJudge(), greedy, WIDE, concurrency=2)
    assert (report.judge, report.settings["width"], report.settings["temperature"]) == (None, 1, 0.0)


async def test_a_malformed_answer_is_wrong_and_its_faults_are_counted_by_kind() -> None:
    @dataclass
    class Sloppy(DreamEngine):
        text: str = "<CONCLUSION> red </CONCLUSION>"

        async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
            result = await super().sample(request)
            return SampleResult(
                tuple(
                    type(one)(one.piece.model_copy(update={"text": self.text}), one.finish, one.tokens)
                    for one in result.completions
                )
            )

    asked = [Question(id="a", text="?", answer="Red")]
    report = await evaluate(asked, Sloppy(), None, greedy, WIDE, concurrency=1)
    assert (report.accuracy.value, report.accuracy.n) == (0.0, 1)
    assert report.accuracy_any_format.value == 1.0
    assert (report.format_valid.value, report.faults) == (0.0, {"missing": 1})
    assert report.rows[0].prediction == "red"
    none = await evaluate(asked, Sloppy(text="red"), None, greedy, WIDE, concurrency=1)
    assert none.accuracy_any_format.value == 0.0
    assert none.faults == {"missing": 1, "outside_text": 1}


@dataclass(frozen=True)
class Known:
    caption: bool | None
    reasoning: bool | None
    conclusion: bool | None = None


async def test_truth_of_captions_and_reasonings_comes_from_outside() -> None:
    def truth(question: Question, stages: Mapping[Stage, str]) -> Known:
        number = quality(stages.get(Stage.CAPTION, ""))
        return Known(caption=number % 2 == 0, reasoning=None if number % 3 == 0 else True)

    asked = questions(12)
    report = await evaluate(asked, DreamEngine(), None, greedy, WIDE, concurrency=3, truth=truth)
    assert report.caption_true.n == 12
    assert report.reasoning_true.n == sum(row.reasoning_true is not None for row in report.rows) < 12
    assert report.reasoning_true.value == 1.0


def torn(path: Path, finished: int) -> None:
    """Leave what a killed run leaves: some whole lines, and a beginning of the next."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:finished]) + lines[finished][: len(lines[finished]) // 2])


async def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    asked, out = questions(8), tmp_path / "new" / "traces.jsonl"
    whole = await evaluate(asked, DreamEngine(), LikelihoodJudge(), stage_beam, WIDE, concurrency=3, out=out)
    assert [trace.question.id for trace in read_jsonl(out, Trace)]
    torn(out, 5)

    engine = DreamEngine()
    again = await evaluate(asked, engine, LikelihoodJudge(), stage_beam, WIDE, concurrency=3, out=out)
    assert len(engine.samples) == 3 * 4
    assert again.resumed == 5
    assert results(again) == results(whole)
    assert sorted(trace.question.id for trace in read_jsonl(out, Trace)) == sorted(one.id for one in asked)
    assert out.with_name("traces.jsonl.torn").exists()

    idle = DreamEngine()
    last = await evaluate(asked, idle, LikelihoodJudge(), stage_beam, WIDE, concurrency=3, out=out)
    assert (idle.samples, last.resumed) == ([], 8)
    assert results(last) == results(whole)


async def test_every_finished_trace_is_on_disk_before_the_next_progress(tmp_path: Path) -> None:
    out, seen = tmp_path / "t.jsonl", []

    def watch(progress: Progress) -> None:
        held = len(out.read_bytes().splitlines()) if out.exists() else 0
        seen.append((progress.done, held, progress.total))

    await evaluate(questions(3), DreamEngine(), None, greedy, WIDE, concurrency=1, out=out, progress=watch)
    assert seen == [(0, 0, 3), (1, 1, 3), (2, 2, 3), (3, 3, 3)]


async def test_a_cancelled_run_keeps_what_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl"
    task: asyncio.Task[EvaluationReport]

    def stop(progress: Progress) -> None:
        if progress.done == 2:
            task.cancel()

    task = asyncio.ensure_future(
        evaluate(questions(6), Flaky(), None, greedy, WIDE, concurrency=1, out=out, progress=stop)
    )
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(read_jsonl(out, Trace)) == 2
    report = await evaluate(questions(6), DreamEngine(), None, greedy, WIDE, concurrency=1, out=out)
    assert (report.resumed, report.questions) == (2, 6)


@pytest.mark.parametrize(
    "error",
    [EngineError("busy", retryable=True), TooLongError("busy"), PictureError("busy")],
    ids=["passing", "too long", "no picture"],
)
async def test_a_failure_of_one_question_is_reported_and_tried_again(tmp_path: Path, error: StepsightError) -> None:
    out, asked = tmp_path / "t.jsonl", questions(4)
    broken = Flaky(broken={"in 2?": error})
    report = await evaluate(asked, broken, None, greedy, WIDE, concurrency=2, out=out)
    assert report.failed == {"q2": "busy"}
    assert (report.questions, report.format_valid.n) == (4, 3)
    healed = await evaluate(asked, Flaky(), None, greedy, WIDE, concurrency=2, out=out)
    assert (healed.failed, healed.resumed, healed.format_valid.n) == ({}, 3, 4)


async def test_any_other_error_stops_the_run_as_itself_and_keeps_what_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl"
    broken = Flaky(broken={"in 2?": EngineError("out of memory", hint="use a smaller model")})
    with pytest.raises(EngineError, match=r"out of memory \(use a smaller model\)"):
        await evaluate(questions(5), broken, None, greedy, WIDE, concurrency=1, out=out)
    assert [trace.question.id for trace in read_jsonl(out, Trace)] == ["q0", "q1"]


async def test_a_file_of_another_run_is_refused(tmp_path: Path) -> None:
    out, asked = tmp_path / "t.jsonl", questions(2)
    await evaluate(asked, DreamEngine(), LikelihoodJudge(), best_of_n, WIDE, concurrency=1, out=out)
    held = out.read_bytes()
    for strategy, setting, words in (
        (best_of_n, SearchSettings(width=3, seed=5), "seed"),
        (best_of_n, SearchSettings(width=4, seed=4), "settings"),
        (stage_beam, WIDE, "strategy"),
    ):
        with pytest.raises(InputError, match=f"other {words}"):
            await evaluate(asked, DreamEngine(), LikelihoodJudge(), strategy, setting, concurrency=1, out=out)
    with pytest.raises(InputError, match="other settings"):
        await evaluate(asked, DreamEngine(name="else"), LikelihoodJudge(), best_of_n, WIDE, concurrency=1, out=out)
    changed = [asked[0].model_copy(update={"text": "Why?"})]
    with pytest.raises(InputError, match="another question under the id q0"):
        await evaluate(changed, DreamEngine(), LikelihoodJudge(), best_of_n, WIDE, concurrency=1, out=out)
    assert out.read_bytes() == held
    out.with_name("t.jsonl.run.json").unlink()
    with pytest.raises(InputError, match="nothing beside it"):
        await evaluate(asked, DreamEngine(), LikelihoodJudge(), best_of_n, WIDE, concurrency=1, out=out)


async def test_the_card_beside_the_file_says_what_run_it_is(tmp_path: Path) -> None:
    await evaluate(questions(1), DreamEngine(), None, greedy, WIDE, concurrency=1, out=tmp_path / "t.jsonl")
    card = json.loads((tmp_path / "t.jsonl.run.json").read_text())
    assert (card["strategy"], card["judge"], card["seed"]) == ("greedy", None, 4)


async def test_senseless_runs_are_refused() -> None:
    with pytest.raises(InputError, match="concurrency"):
        await evaluate(questions(1), DreamEngine(), None, greedy, WIDE, concurrency=0)
    with pytest.raises(InputError, match="share an id"):
        await evaluate([*questions(1), *questions(1)], DreamEngine(), None, greedy, WIDE, concurrency=1)


async def test_no_questions_give_a_report_that_claims_nothing() -> None:
    report = await evaluate([], DreamEngine(), None, greedy, WIDE, concurrency=1)
    assert (report.accuracy.value, report.usage.mean, report.seconds.mean, report.questions) == (None, None, None, 0)


async def test_two_reports_compare_question_by_question() -> None:
    asked = [one.model_copy(update={"answer": conclusion((await dream(one)).text)}) for one in questions(6)]
    right = await evaluate(asked, DreamEngine(), None, greedy, WIDE, concurrency=2)
    wrong = await evaluate(asked[1:], DreamEngine(faulty=1.0), None, greedy, WIDE, concurrency=2)
    difference = compare(right, wrong)
    assert (difference.value, difference.n, difference.only_first) == (1.0, 5, 5)
    unscored = await evaluate(questions(10)[4::5], DreamEngine(), None, greedy, WIDE, concurrency=2)
    with pytest.raises(InputError, match="no scored question"):
        compare(right, unscored)


async def dream(question: Question) -> Trace:
    return await greedy(question, DreamEngine(), None, WIDE)
