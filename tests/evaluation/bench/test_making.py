"""What is said of answers while a run goes on, and of those that ran into the limit of tokens."""

from __future__ import annotations

from pathlib import Path

from tests.evaluation.suites.files import FILES, mmstar_rows, staged, write

from stepsight.engines.scripted import ScriptedEngine
from stepsight.evaluation import Progress, evaluate
from stepsight.evaluation.bench.making import answers_of, card_of, marker, result_of, search_of
from stepsight.evaluation.suites import Settings, predictions_of, read_suite
from stepsight.jsonl import read_jsonl
from stepsight.protocols import SampleRequest, SearchSettings
from stepsight.records import Candidate, Finish, Piece, Trace, Usage
from stepsight.search import greedy


def said(request: SampleRequest, slot: int, seed: int) -> str:
    asked = request.turns[-1].text
    if "picture 3?" in asked:
        return "<SUMMARY> " + "word " * 200
    return staged("who knows" if "picture 2?" in asked else "(A)")


async def test_running_accuracy_is_by_the_benchmark_s_rules_where_they_can_tell(tmp_path: Path) -> None:
    write(tmp_path / "MMStar.tsv", mmstar_rows(4))
    suite = read_suite("MMStar", root=tmp_path)
    seen: list[Progress] = []
    out = tmp_path / "traces.jsonl"
    settings = SearchSettings(width=1, max_tokens=60)
    report = await evaluate(
        suite.questions(),
        ScriptedEngine(said),
        None,
        greedy,
        settings,
        out=out,
        progress=seen.append,
        right=marker(suite, Settings()),
    )
    # (A) is right of the first and wrong of the second; the third cannot be read; the fourth has no conclusion.
    assert (seen[-1].done, seen[-1].scored, seen[-1].correct) == (4, 3, 1)
    traces = read_jsonl(out, Trace)
    answers = answers_of(report, traces)
    assert answers.limited == 1
    assert answers.format_valid.value == 0.75
    card = card_of(suite, Settings(), model="m", search=search_of(report))
    assert (card.search["max_tokens"], card.search["strategy"]) == (60, "greedy")
    result = await result_of(suite, predictions_of(traces), card, Settings("2024"), answers=answers)
    assert result.card.generation == "2024"
    assert result.scores is not None
    assert result.scores.whole.counts.truncated == 1


async def test_a_stage_that_was_cut_counts_whatever_came_after_it(tmp_path: Path) -> None:
    write(tmp_path / "MMStar.tsv", mmstar_rows(1))
    suite = read_suite("MMStar", root=tmp_path)
    (question,) = suite.questions()
    pieces = [("<SUMMARY> cut", Finish.LENGTH), (" </SUMMARY> and on", Finish.STOP)]
    candidates = [
        Candidate(id=id, stage=None, slot=0, seed=0, piece=Piece(text=text), finish=finish, tokens=3)
        for id, (text, finish) in enumerate(pieces)
    ]
    report = await evaluate([question], ScriptedEngine(said), None, greedy, SearchSettings(width=1))
    trace = Trace(
        question=question,
        strategy="stage-beam",
        judge=None,
        seed=0,
        settings={},
        candidates=tuple(candidates),
        verdicts=(),
        chosen=(0, 1),
        usage=Usage(),
        seconds=0.0,
    )
    assert answers_of(report, [trace]).limited == 1
    assert answers_of(report, [trace.model_copy(update={"chosen": (1,)})]).limited == 0


async def test_nothing_is_said_while_only_a_judge_can(tmp_path: Path) -> None:
    write(tmp_path / "MMVet.tsv", FILES["MMVet"]())
    suite = read_suite("MMVet", root=tmp_path)
    seen: list[Progress] = []
    engine, settings = ScriptedEngine(said), SearchSettings(width=1)
    mark = marker(suite, Settings())
    await evaluate(suite.questions(), engine, None, greedy, settings, progress=seen.append, right=mark)
    assert (seen[-1].done, seen[-1].scored) == (6, 0)
