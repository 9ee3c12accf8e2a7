"""Report cards against judges whose merits are known, and decisions made again."""

from __future__ import annotations

import json
import math
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles import DreamEngine

from stepsight.cli.app import run
from stepsight.engines.scripted import ScriptedEngine
from stepsight.errors import CapabilityError, InputError
from stepsight.evaluation.calibration import calibrate
from stepsight.evaluation.card import WHOLE, judge_card
from stepsight.evaluation.rejudging import decisions_of, rejudge
from stepsight.evaluation.statistics import auroc
from stepsight.jsonl import read_jsonl, write_jsonl
from stepsight.judges import LikelihoodJudge, SelfJudge
from stepsight.judges.oracle import OracleJudge
from stepsight.model_folders import read_card
from stepsight.prompts import judge_prompts
from stepsight.protocols import SearchSettings
from stepsight.records import Candidate, Question, Trace, Verdict
from stepsight.search import best_of_n, stage_beam
from stepsight.stages import STAGES, Stage, parse, render
from stepsight.world.corruption import corrupt_things
from stepsight.world.programs import seen
from stepsight.world.scene import Scene
from stepsight.world.split import draw_split, save_split
from stepsight.world.teacher import write_caption
from stepsight.world.truth import is_true


def known(question: Question, line: object, candidate: Candidate) -> bool:
    """On the dream's texts: an even quality is the truth."""
    return int(candidate.piece.text.rpartition("q")[2].split()[0]) % 2 == 0


@dataclass(frozen=True)
class Contrary:
    """Always prefers what is false."""

    name: str = "contrary"
    scores: bool = True
    probabilities: bool = False
    cutoff: float | None = None

    async def judge(self, question, stage, chosen, candidates) -> Verdict:  # type: ignore[no-untyped-def]  # a double
        order = sorted(candidates, key=lambda one: (known(question, chosen, one), one.id))
        return Verdict(
            judge=self.name,
            stage=stage,
            order=tuple(one.id for one in order),
            scores=tuple(float(not known(question, chosen, one)) for one in order),
        )


async def searches(count: int, whole: bool = False) -> list[Trace]:
    strategy = best_of_n if whole else stage_beam
    return [
        await strategy(
            Question(id=f"q{seed}", text="How?"), DreamEngine(), LikelihoodJudge(), SearchSettings(seed=seed)
        )
        for seed in range(count)
    ]


@pytest.mark.parametrize("whole", [False, True])
async def test_the_card_of_a_judge_that_knows_and_of_one_that_lies(whole: bool) -> None:
    traces = await searches(60, whole)
    good = judge_card(await rejudge(traces, OracleJudge(known)), known)
    bad = judge_card(await rejudge(traces, Contrary()), known)
    assert list(good.stages) == ([WHOLE] if whole else [stage.value for stage in STAGES])
    for stage, card in good.stages.items():
        assert (card.pairs.value, card.picks.value, card.auroc.value) == (1.0, 1.0, 1.0)
        assert card.decisions == 60
        assert "use it" in card.advice
        assert "do not" not in card.advice
        worst = bad.stages[stage]
        assert (worst.pairs.value, worst.picks.value, worst.auroc.value) == (0.0, 0.0, 0.0)
        assert worst.pairs.n == card.pairs.n
        assert "vote instead" in worst.advice
        assert card.by_chance == worst.by_chance
        assert 0.4 < (card.by_chance or 0) < 0.6


async def test_a_judge_that_goes_by_position_is_inconsistent_and_not_better_than_chance() -> None:
    traces = await searches(60)
    engine = ScriptedEngine(scores=lambda request: (-0.1, -3.0))
    card = judge_card(await rejudge(traces, SelfJudge(engine, judge_prompts("short-2"))), known)
    one = card.stages["CAPTION"]
    assert one.consistent.value == 0.0
    assert one.firm.value is None
    assert one.unreadable.value == 0.0
    assert "not shown to be better than chance" in one.advice
    assert one.calls > 0
    assert one.tokens > 0


async def test_rejudging_a_stage_search_keeps_the_answer_and_one_of_whole_answers_may_change_it() -> None:
    staged, whole = await searches(20), await searches(20, whole=True)
    again = await rejudge(staged, OracleJudge(known))
    assert [trace.chosen for trace in again] == [trace.chosen for trace in staged]
    assert all(trace.judge == "oracle" for trace in again)
    assert [len(decisions_of(trace)) for trace in staged] == [4] * 20
    for one, other in zip(whole, await rejudge(whole, OracleJudge(known)), strict=True):
        assert other.chosen == (other.verdicts[0].order[0],)
        assert other.usage.kept + other.usage.discarded == one.usage.kept + one.usage.discarded
        if any(known(one.question, (), candidate) for candidate in one.candidates):
            assert known(one.question, (), other.candidates[other.chosen[0]])


@given(cases=st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=2, max_size=40))
def test_auroc_counts_pairs(cases: list[tuple[float, bool]]) -> None:
    found = auroc([[case] for case in cases], resamples=20)
    ups = [score for score, true in cases if true]
    downs = [score for score, true in cases if not true]
    assert found.n == len(cases)
    if not ups or not downs:
        assert found.value is None
        return
    pairs = [1.0 if up > down else 0.5 if up == down else 0.0 for up in ups for down in downs]
    assert found.value == pytest.approx(sum(pairs) / len(pairs))


def test_an_auroc_interval_covers_the_truth_and_leaves_nan_out() -> None:
    rng = random.Random(4)
    groups = [[(rng.gauss(float(true), 1), true)] for true in (rng.random() < 0.5 for _ in range(400))]
    found = auroc([*groups, [(math.nan, True)], [(-math.inf, False)]])
    assert found.n == 401
    assert found.low is not None
    assert found.high is not None
    # Two normal distributions one standard deviation apart: 0.760.
    assert found.low < 0.76 < found.high
    assert found.high - found.low < 0.15


def test_the_world_says_which_candidates_are_true() -> None:
    rng = random.Random(0)
    for drawn in draw_split("test", seed=3, count=20):
        question = drawn.question
        truth = question.meta["staged_answer"]

        def piece(stage: Stage | None, text: str) -> Candidate:
            data = {"id": 0, "stage": stage, "slot": 0, "seed": 0, "finish": "stop", "tokens": 1}
            return Candidate.model_validate({**data, "piece": {"text": text}})

        stages = parse(truth).stages
        parts = {stage: piece(stage, render({stage: text})) for stage, text in stages.items()}
        line = (parts[Stage.SUMMARY], parts[Stage.CAPTION])
        assert is_true(question, (), parts[Stage.SUMMARY]) is None
        assert is_true(question, (), parts[Stage.CAPTION])
        assert is_true(question, line, parts[Stage.REASONING])
        assert is_true(question, line, parts[Stage.CONCLUSION])
        assert is_true(question, (), piece(None, truth))
        things = seen(Scene.from_dict(question.meta["scene"]))
        wrong = piece(Stage.CAPTION, render({Stage.CAPTION: write_caption(rng, corrupt_things(rng, things, 1))}))
        assert is_true(question, (), wrong) is False
        # A reasoning must follow the caption that was chosen, so behind a wrong one the teacher's own may be wrong.
        assert is_true(question, (), parts[Stage.REASONING]) is None
        assert is_true(question, (), piece(Stage.CAPTION, "<CAPTION> cut off")) is False


def test_the_verbs_read_traces_and_write_cards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_split("test", seed=8, count=6, out=tmp_path)
    options = ["--search", "best-of-n", "--width", "3", "--out", str(tmp_path / "run")]
    assert run(["eval", "--questions", str(path), *options]) == 0
    capsys.readouterr()
    assert run(["judge", str(tmp_path / "run"), "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["judge"] == "self"
    assert card["stages"][WHOLE]["decisions"] == 6
    assert run(["judge", str(tmp_path / "run"), "--judge", "oracle"]) == 0
    assert "judge oracle, 6 searches" in " ".join(capsys.readouterr().out.split())
    out = tmp_path / "again.jsonl"
    assert run(["rejudge", str(tmp_path / "run"), "--judge", "vote", "--out", str(out)]) == 0
    assert all(trace.judge == "vote" for trace in read_jsonl(out, Trace))
    assert run(["judge", str(out), "--judge", "nobody"]) == 2
    traces = [trace.model_copy(update={"question": Question(id="p", text="?")}) for trace in read_jsonl(out, Trace)]
    write_jsonl(out, traces)
    assert run(["judge", str(out)]) == 2
    assert "drawn world" in capsys.readouterr().err
    assert run(["judge", str(tmp_path / "no")]) == 2


async def test_a_cutoff_is_a_quantile_of_the_pilots_scores() -> None:
    traces = await searches(80)
    scores = sorted(
        score
        for trace in traces
        for verdict in trace.verdicts
        if verdict.stage is Stage.REASONING and verdict.scores
        for score in verdict.scores
    )
    made = calibrate(traces, known)
    assert made.scores == len(scores) == 320
    assert sum(score < made.cutoff for score in scores) == pytest.approx(0.6 * 320, abs=1)
    assert made.normal == pytest.approx(made.mean + 0.2533 * made.deviation, abs=1e-3)
    assert made.above.n + made.below.n == 320
    with pytest.raises(InputError, match="paper takes"):
        calibrate(traces, known, share=1.0)
    with pytest.raises(InputError, match="stage-beam"):
        calibrate(await searches(3, whole=True), known)
    engine = DreamEngine()
    with pytest.raises(CapabilityError, match="likelihood"):
        calibrate(await rejudge(traces, SelfJudge(engine, judge_prompts("short-2"))), known)
    test = traces[0].model_copy(update={"question": Question(id="t", text="?", meta={"split": "hard"})})
    with pytest.raises(InputError, match="to measure with"):
        calibrate([test], known)


def test_a_cutoff_is_kept_on_the_card_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.resources import files

    model = tmp_path / "model"
    shutil.copytree(str(files("stepsight") / "pico"), model)
    path = save_split("train", seed=8, count=4, out=tmp_path)
    options = ["--search", "stage-beam", "--judge", "likelihood", "--width", "2", "--out", str(tmp_path / "pilot")]
    assert run(["eval", "--questions", str(path), *options]) == 0
    assert run(["calibrate", str(tmp_path / "pilot"), "--model", str(model), "--write"]) == 0
    cutoff = read_card(model).cutoffs["likelihood"]
    assert run(["calibrate", str(tmp_path / "pilot"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["cutoff"] == pytest.approx(cutoff, abs=1e-5)
    assert run(["calibrate", str(tmp_path / "pilot"), "--write"]) == 2
    assert "no model folder" in capsys.readouterr().err
    # That of a reward model is the reward model's own, and the model's card stays as it is.
    held, before = read_card(model / "reward"), read_card(model)
    rewarded = ["calibrate", str(tmp_path / "pilot"), "--judge", "reward", "--share", "0.5", "--write"]
    assert run([*rewarded, "--model", str(model)]) == 0
    changed = read_card(model / "reward")
    assert changed == held.model_copy(update={"cutoffs": changed.cutoffs})
    assert changed.cutoffs["reward"] != held.cutoffs["reward"]
    assert read_card(model) == before
    asked = ["ask", "--model", str(model), "--search", "swires", "--judge", "likelihood", "--json"]
    assert run(asked) == 0
