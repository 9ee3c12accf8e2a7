"""A study runs all arms, goes on where it was stopped, and says nothing without an interval."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.doubles import EVERYTHING, DreamEngine

from stepsight.assembly import LoadedModel
from stepsight.cli.app import run
from stepsight.errors import RecipeError
from stepsight.evaluation.report import EvaluationReport, Judging, Row, summarise
from stepsight.jsonl import read_jsonl
from stepsight.locks import alone
from stepsight.model_folders import ModelCard
from stepsight.recipes import load_recipe
from stepsight.records import Trace, Usage
from stepsight.reports.study import study_heading, study_markdown
from stepsight.study.deriving import derive
from stepsight.study.recipe import Claim, StudyRecipe
from stepsight.study.results import StudyResult, results

SHIPPED = Path(__file__).parents[2] / "recipes" / "study"
ARMS = [
    {"search": "greedy"},
    {"search": "vote", "width": [2, 4]},
    {"search": "stage-beam", "width": 3, "judge": ["likelihood", "oracle"]},
    {"search": "swires", "judge": "likelihood", "constants": ["swires.cutoff=-2"]},
    {"search": "adaptive", "budget_tokens": 60},
]


def write(folder: Path, **changes: object) -> Path:
    questions = {"split": "test", "seed": 3, "count": 5}
    recipe = {"questions": questions, "seeds": [0, 1], "arms": ARMS, "out": str(folder / "study")}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(recipe | changes), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_studies_check_out(path: Path) -> None:
    assert len(load_recipe(path, StudyRecipe).all_arms()) > 3


def test_lists_are_multiplied_out_and_arms_have_names(tmp_path: Path) -> None:
    assert [arm.name for arm in load_recipe(write(tmp_path), StudyRecipe).all_arms()] == [
        "greedy",
        "vote-2",
        "vote-4",
        "stage-beam-3-likelihood",
        "stage-beam-3-oracle",
        "swires-likelihood-swires.cutoff--2",
        "adaptive-60-tokens",
    ]


@pytest.mark.parametrize(
    ("arms", "fault"),
    [
        ([{"search": "gredy"}], "did you mean greedy"),
        ([{"search": "vote", "width": 0}], "the width is 0"),
        ([{"search": "vote"}, {"search": "vote"}], "given twice: vote-4"),
        ([{"search": "swires", "constants": ["swires.kept=3"]}], "cannot keep 3 of 4"),
        ([{"search": "vote", "widht": 3}], "width"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_runs(tmp_path: Path, arms: list[object], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        load_recipe(write(tmp_path, arms=arms), StudyRecipe)


def test_claims_about_arms_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="arms that are not there: vote-8"):
        load_recipe(write(tmp_path, claims=[{"above": "vote-8", "below": "greedy"}]), StudyRecipe)


def test_a_study_writes_tables_and_plots_and_runs_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, engine = write(tmp_path), DreamEngine()
    model = LoadedModel(engine, ModelCard(name="dream", judge_prompts="short-2"))
    assert run(["study", str(path), "--json"], model=model) == 0
    result = StudyResult.model_validate_json(capsys.readouterr().out)
    assert (result.questions, result.seeds) == (5, [0, 1])
    by_name = {arm.name: arm for arm in result.arms}
    assert {"greedy", "stage-beam-3-oracle"} < set(by_name["stage-beam-3-likelihood"].against)
    for arm in result.arms:
        for span in (arm.accuracy, *arm.against.values()):
            assert span.n == 5
            assert span.low is not None
            assert span.high is not None
            assert span.value is not None
            assert span.low <= span.value <= span.high
    out = tmp_path / "study"
    for name in ("recipe.yaml", "result.json", "table.md", "accuracy.png", "accuracy.svg"):
        assert (out / name).stat().st_size > 100
    assert "to greedy:" in (out / "table.md").read_text()
    # Greedy draws nothing, so one seed stands for all.
    assert [path.name for path in (out / "greedy").iterdir()] == ["seed-0"]
    written = engine.generated
    assert run(["study", str(path)], model=model) == 0
    assert engine.generated == written
    assert "tables and plots" in capsys.readouterr().out


def report(rights: list[bool], tokens: int, failed: dict[str, str] | None = None) -> EvaluationReport:
    rows = [
        Row(
            id=f"q{place}",
            family="",
            prediction="1",
            correct=right,
            conclusion_correct=right,
            valid=True,
            faults=(),
            caption_true=None,
            reasoning_true=None,
            usage=Usage(kept=tokens, judge=10),
            judging=Judging(),
            seconds=1.0,
        )
        for place, right in enumerate(rights)
    ]
    return summarise(rows, strategy="x", judge=None, seed=0, settings={}, wall=1.0, failed=failed)


def test_differences_are_paired_and_the_vote_is_the_one_that_costs_as_much() -> None:
    runs = {
        "greedy": [report([True, False] * 50, 100)] * 2,
        "vote-2": [report([True, False] * 50, 200)] * 2,
        "vote-8": [report([True, True] * 50, 800), report([True, False] * 50, 800)],
        "stage-beam-4-self": [report([True, True] * 50, 700)] * 2,
    }
    result = results(runs, seeds=[0, 1])
    by_name = {arm.name: arm for arm in result.arms}
    assert by_name["vote-8"].accuracy.value == 0.75
    beam = by_name["stage-beam-4-self"]
    assert set(beam.against) == {"greedy", "vote-8"}
    assert beam.against["greedy"].value == 0.5
    assert beam.against["vote-8"].value == 0.25
    assert (beam.tokens, beam.generated) == (710, 700)
    # Alike on every question: no difference, and an interval that says so.
    same = by_name["vote-2"].against["greedy"]
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_claims_are_told_by_their_paired_interval() -> None:
    runs = {
        "greedy": [report([True, False] * 50, 100)],
        "vote-2": [report([True, False] * 50, 200)],
        "stage-beam-4-self": [report([True, True] * 50, 700)],
    }
    pairs = [("stage-beam-4-self", "greedy"), ("greedy", "stage-beam-4-self"), ("vote-2", "greedy")]
    result = results(runs, seeds=[0], claims=[Claim(above=above, below=below) for above, below in pairs])
    assert [claim.verdict for claim in result.claims] == ["holds", "the other way round", "not told apart"]
    assert (result.claims[0].tokens_above, result.claims[0].tokens_below) == (710, 110)
    assert result.claims[0].difference.value == 0.5
    told = study_markdown(result)
    assert "| stage-beam-4-self above greedy | +50.0 (" in told
    assert "| 710 and 110 | holds |" in told
    assert [arm.captions for arm in result.arms] == [None] * 3


def test_truth_of_stages_is_a_share_of_what_is_known() -> None:
    one = report([True, False, True, True], 100)
    known = [True, True, False, None]
    rows = tuple(row.model_copy(update={"caption_true": value}) for row, value in zip(one.rows, known, strict=True))
    (arm,) = results({"greedy": [one.model_copy(update={"rows": rows})]}, seeds=[0]).arms
    assert arm.captions is not None
    assert arm.captions.value == pytest.approx(2 / 3)
    assert arm.captions.n == 3
    assert arm.reasonings is None


def test_a_question_that_failed_anywhere_is_left_out_everywhere_and_counted() -> None:
    whole, short = [True, False, True, True], [True, False, True]
    runs = {"greedy": [report(whole, 100)] * 2, "vote-2": [report(whole, 200), report(short, 200, {"q3": "no"})]}
    result = results(runs, seeds=[0, 1])
    assert (result.questions, result.left_out) == (3, 1)
    assert {arm.accuracy.n for arm in result.arms} == {3}
    assert "1 more failed in some arm" in study_heading(result)
    assert "failed" not in study_heading(results({"greedy": runs["greedy"]}, seeds=[0, 1]))


WIDE = [
    {"search": "greedy"},
    {"search": "vote", "width": [1, 2, 4]},
    {"search": "best-of-n", "width": [2, 4], "judge": ["likelihood", "oracle", "self"]},
    {"search": "stage-beam", "width": [2, 3], "judge": "likelihood"},
    {"search": "vote", "width": 3, "temperature": 1.0},
    {"search": "vote", "width": 2, "budget_tokens": 90},
]
DERIVED = {
    "vote-1",
    "vote-2",
    *(f"best-of-n-{width}-{judge}" for width in (2, 4) for judge in ("likelihood", "oracle", "self")),
}


def traces(out: Path) -> dict[str, dict[str, Trace]]:
    found = {}
    for path in sorted(out.glob("*/seed-*/traces.jsonl")):
        by_id = {trace.question.id: trace for trace in read_jsonl(path, Trace)}
        found[f"{path.parent.parent.name}, {path.parent.name}"] = by_id
    return found


def study(folder: Path, engine: DreamEngine, **changes: object) -> StudyResult:
    path = write(folder, arms=WIDE, **changes)
    model = LoadedModel(engine, ModelCard(name="dream", judge_prompts="short-2"))
    assert run(["study", str(path)], model=model) == 0
    return StudyResult.model_validate_json((folder / "study" / "result.json").read_bytes())


def test_arms_that_a_wider_one_contains_are_derived_and_equal_those_that_are_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    few, many = DreamEngine(), DreamEngine()
    derived = study(tmp_path / "a", few)
    said = " ".join(capsys.readouterr().err.split())
    ran = study(tmp_path / "b", many, derive=False)
    assert "is not run" not in capsys.readouterr().err
    assert few.generated < many.generated
    assert {arm.name for arm in derived.arms if arm.derived == "vote-4"} == DERIVED
    assert not any(arm.derived for arm in ran.arms)
    for name in DERIVED:
        assert f"{name} is not run: its answers are among those of vote-4" in said
    assert "stage-beam-2-likelihood is run: stage-beam goes on from what was chosen" in said
    assert "vote-2-90-tokens is run: its budget" in said
    for one, other in zip(derived.arms, ran.arms, strict=True):
        assert (one.seconds is None) == (one.name in DERIVED)
        mine, theirs = (arm.model_dump(exclude={"seconds", "derived"}) for arm in (one, other))
        assert mine == theirs
    first, second = traces(tmp_path / "a" / "study"), traces(tmp_path / "b" / "study")
    assert first.keys() == second.keys()
    for arm, by_id in first.items():
        for id, trace in by_id.items():
            for key in ("judge", "candidates", "verdicts", "chosen", "usage"):
                if (key, arm.split("-")[0]) != ("usage", "best"):
                    assert getattr(trace, key) == getattr(second[arm][id], key), (arm, key)
    heading = study_heading(derived)
    assert "Derived from vote-4, not run: vote-1, vote-2" in heading
    assert "| derived |" in (tmp_path / "a" / "study" / "table.md").read_text()


def test_a_killed_derivation_goes_on_and_nothing_is_judged_twice(tmp_path: Path) -> None:
    engine = DreamEngine()
    before = study(tmp_path, engine)
    path = tmp_path / "study" / "best-of-n-4-self" / "seed-0" / "traces.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]) + b'{"torn')
    written, judged = engine.generated, len(engine.scored)
    other = DreamEngine()
    assert study(tmp_path, other) == before
    assert other.generated == 0
    assert 0 < len(other.scored) < judged
    assert engine.generated == written
    assert len(read_jsonl(path, Trace)) == 5


def test_two_studies_do_not_derive_the_same_arm_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "study" / "vote-2" / "seed-0" / "traces.jsonl"
    with alone(path), pytest.raises(AssertionError):
        study(tmp_path, DreamEngine())
    assert f"another process writes to {path}" in capsys.readouterr().err
    assert not path.exists()
    study(tmp_path, DreamEngine())
    assert len(read_jsonl(path, Trace)) == 5


def test_an_engine_without_seeds_runs_every_arm(tmp_path: Path) -> None:
    engine = DreamEngine(capabilities=replace(EVERYTHING, seeds=False))
    assert not any(arm.derived for arm in study(tmp_path, engine).arms)


def test_an_arm_that_was_run_before_stays_as_it_was(tmp_path: Path) -> None:
    ran = study(tmp_path, DreamEngine(), derive=False)
    again = study(tmp_path, DreamEngine())
    assert again == ran


def test_a_question_that_the_wide_run_could_not_answer_is_asked_by_the_narrow_one(tmp_path: Path) -> None:
    engine = DreamEngine()
    study(tmp_path, engine)
    for arm in ("vote-4", "vote-2"):
        path = tmp_path / "study" / arm / "seed-0" / "traces.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    source = tmp_path / "study" / "vote-4" / "seed-0" / "traces.jsonl"
    recipe = load_recipe(write(tmp_path, arms=WIDE), StudyRecipe)
    narrow = next(one for one in recipe.all_arms() if one.name == "vote-2")
    questions = [trace.question for trace in traces(tmp_path / "study")["greedy, seed-0"].values()]
    out = source.parent.parent.parent / "vote-2" / "seed-0" / "traces.jsonl"
    assert asyncio.run(derive(narrow, 0, source, out, questions, engine, None)) == 0
    study(tmp_path, engine)
    assert len(read_jsonl(out, Trace)) == 5
