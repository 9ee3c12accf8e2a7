"""The paper's reasoning subsets, and means of scores with intervals of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evaluation.suites.files import mmbench_rows, mmstar_rows, mmvet_rows, write

from stepsight.evaluation.bench.subsets import mean_of_measures, subsets_of
from stepsight.evaluation.scoring.measures import Measure, Unit, share
from stepsight.evaluation.scoring.readings import Ask
from stepsight.evaluation.statistics import wilson
from stepsight.evaluation.suites import Prediction, read_suite, score, score_by_rules


def test_mmstar_r_is_the_mean_of_four_skills(tmp_path: Path) -> None:
    write(tmp_path / "MMStar.tsv", mmstar_rows(24))
    suite = read_suite("MMStar", root=tmp_path)
    # Right in math (place 4), wrong elsewhere; both perceptions are right, which must not count.
    predictions = [
        Prediction(index=line.index, text=line.text("answer") if int(line.index) % 6 in (0, 1, 4) else "Z")
        for line in suite.lines
    ]
    (group, exact) = subsets_of(suite, score_by_rules(suite, predictions).whole)
    assert (group.name, group.measure.value, group.measure.n) == ("MMStar-R", 0.25, 16)
    assert (exact.metric, exact.measure) == ("exact", group.measure)
    unread = [one.model_copy(update={"text": "who knows"}) if one.text == "Z" else one for one in predictions]
    (group, exact) = subsets_of(suite, score_by_rules(suite, unread).whole)
    assert (group.measure.value, exact.measure.value) == (None, 0.25)


def test_mmbench_r_is_the_mean_of_three_reasonings_over_circles(tmp_path: Path) -> None:
    rows = [dict(row) for row in mmbench_rows(6)]
    abilities = ["attribute_reasoning", "logic_reasoning", "relation_reasoning", "coarse_perception"] * 2
    for row in rows:
        row["l2-category"] = abilities[int(str(row["index"])) % 1_000_000]
    write(tmp_path / "MMBench_DEV_EN_V11.tsv", rows)
    suite = read_suite("MMBench_DEV_EN_V11", root=tmp_path)
    predictions = [Prediction(index=line.index, text=line.text("answer")) for line in suite.lines]
    (group, _) = subsets_of(suite, score_by_rules(suite, predictions).whole)
    assert (group.name, group.measure.value, group.measure.n) == ("MMBench-R", 1.0, 5)
    wrong = [one.model_copy(update={"text": "Z"}) if one.index == "1000001" else one for one in predictions]
    (group, _) = subsets_of(suite, score_by_rules(suite, wrong).whole)
    assert group.measure.value == pytest.approx((1 + 1 / 2 + 1) / 3)  # one turn takes its circle, one of two of logic


async def test_mmvet_r_is_the_mean_of_space_and_math(tmp_path: Path) -> None:
    write(tmp_path / "MMVet.tsv", mmvet_rows())
    suite = read_suite("MMVet", root=tmp_path)

    async def judge(ask: Ask) -> str | None:
        # Row 2 wants space and math, row 3 math.
        return {"v1_2": "1.0", "v1_3": "0.0"}.get(ask.index, "0.5")

    scores = await score(suite, [Prediction(index=line.index, text="x") for line in suite.lines], judge)
    (group,) = subsets_of(suite, scores.whole)
    assert group.name == "MMVet-R"
    assert group.measure.value == pytest.approx((1.0 + 0.5) / 2)


def test_a_subset_that_is_not_all_there_has_no_score(tmp_path: Path) -> None:
    write(tmp_path / "MMStar.tsv", mmstar_rows(4))  # no math, no science
    suite = read_suite("MMStar", root=tmp_path)
    (group, exact) = subsets_of(suite, score_by_rules(suite, []).whole)
    assert (group.measure.value, exact.measure.value) == (None, None)


def test_the_interval_of_a_mean_is_joined_from_its_parts() -> None:
    one = share([Unit(1.0)] * 60 + [Unit(0.0)] * 40)
    alone = mean_of_measures([one])
    assert alone is not None
    assert (alone.value, alone.low, alone.high) == pytest.approx((one.value, one.low, one.high))
    four = mean_of_measures([one] * 4)
    assert four is not None
    # Four independent parts alike: half the width, as for four times the questions.
    assert four.high is not None
    assert four.low is not None
    big = wilson(240, 400)
    assert big.high is not None
    assert big.low is not None
    assert four.high - four.low == pytest.approx(big.high - big.low, rel=0.03)
    assert mean_of_measures([one, None]) is None
    assert mean_of_measures([]) is None
    none = Measure(value=None, low=None, high=None, n=0, unscored=3, method="wilson")
    assert mean_of_measures([one, none]) is None
