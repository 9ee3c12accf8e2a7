"""From a benchmark file to its scores with the shipped model, by the same way that every other run takes."""

from __future__ import annotations

from pathlib import Path

from stepsight import ModelChoice
from stepsight.assembly import load_model
from stepsight.evaluation import evaluate
from stepsight.evaluation.suites import predictions_of, read_predictions, read_suite, score_by_rules, write_predictions
from stepsight.jsonl import read_jsonl
from stepsight.protocols import SearchSettings
from stepsight.records import Trace
from stepsight.search import greedy
from stepsight.world.benchmarks import save_benchmark


async def test_multiple_choices_of_the_world_are_asked_answered_and_scored(tmp_path: Path) -> None:
    save_benchmark("mcq", "test", seed=7, count=6, out=tmp_path)
    suite = read_suite("tabletop_test_mcq", root=tmp_path)
    questions = suite.questions("plain-1")
    engine = load_model(ModelChoice()).engine
    report = await evaluate(questions, engine, None, greedy, SearchSettings(width=1), out=tmp_path / "traces.jsonl")
    assert not report.failed
    predictions = predictions_of(read_jsonl(tmp_path / "traces.jsonl", Trace))
    scores = score_by_rules(suite, predictions)
    assert scores.conclusion is not None
    assert scores.conclusion.overall.n == 6
    # pico answers with the letter, which both rules read alike.
    assert scores.conclusion.overall.value == report.accuracy_any_format.value
    assert (scores.conclusion.overall.value or 0) >= 0.5
    write_predictions(tmp_path / "pico_tabletop_test_mcq.tsv", suite, predictions)
    again = score_by_rules(suite, read_predictions(tmp_path / "pico_tabletop_test_mcq.tsv"))
    assert again.conclusion == scores.conclusion
