"""Scores of each benchmark: what is right, what is wrong, what is neither, and in which group it counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.evaluation.suites.files import SKILLS, hallusion_rows, mmbench_rows, mmstar_rows, staged, write, write_all

from stepsight.errors import InputError
from stepsight.evaluation.scoring.circular import circles
from stepsight.evaluation.scoring.readings import Ask, By, read_reply
from stepsight.evaluation.scoring.tables import Group
from stepsight.evaluation.suites import Prediction, Scores, Settings, Suite, read_suite, score, score_by_rules
from stepsight.intervals import wilson_bounds


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_all(tmp_path)


def predictions(texts: Mapping[str, str]) -> list[Prediction]:
    return [Prediction(index=index, text=text) for index, text in texts.items()]


def right(suite: Suite) -> dict[str, str]:
    """A right answer to every question."""
    column = "answer_option" if suite.name.startswith("MathVista") else "answer"
    texts = {line.index: line.text(column) for line in suite.lines}
    if suite.name.startswith("MathVista"):
        texts = {line.index: line.text(column if line.names(column) else "answer") for line in suite.lines}
    return texts


def found(
    groups: tuple[Group, ...] | None, name: str, metric: str = "acc", *, split: str = "", kind: str = ""
) -> Group:
    assert groups is not None
    (group,) = [
        group
        for group in groups
        if (group.name, group.metric) == (name, metric)
        and (not split or group.split == split)
        and (not kind or group.kind == kind)
    ]
    return group


def value(groups: tuple[Group, ...] | None, name: str, metric: str = "acc") -> float | None:
    return found(groups, name, metric).measure.value


# Multiple choice


def test_a_choice_is_right_wrong_or_unread(data: Path) -> None:
    suite = read_suite("MMStar", root=data)
    texts = right(suite)
    texts.update({"0": "B", "1": "who knows", "2": "Cannot determine the answer"})
    scores = score_by_rules(suite, predictions(texts))
    overall = scores.whole.overall
    assert (overall.value, overall.n, overall.unscored) == (9 / 11, 11, 1)
    assert (overall.low, overall.high) == wilson_bounds(9, 11)
    assert value(scores.whole.exact, "Overall") == 9 / 12
    readings = {reading.index: reading for reading in scores.whole.readings}
    assert [readings[index].by for index in "0123"] == [By.LETTER, By.UNREAD, By.NONE_OF_THEM, By.LETTER]
    assert (readings["2"].given, readings["2"].hit) == ("Z", 0.0)
    assert scores.whole.counts.unscored == 1
    assert scores.whole.counts.by == {"letter": 10, "none of them": 1, "unread": 1}


def test_mmstar_is_given_by_skill(data: Path) -> None:
    suite = read_suite("MMStar", root=data)
    texts = right(suite) | {"0": "D", "6": "A"}
    groups = score_by_rules(suite, predictions(texts)).whole.groups
    kinds = [group.kind for group in groups]
    assert kinds == ["overall", *["category"] * 6, *["l2_category"] * 3]
    assert [group.name for group in groups[1:7]] == sorted(SKILLS)
    skill = found(groups, "coarse perception").measure
    assert (skill.value, skill.n) == (0.0, 2)
    assert value(groups, "math") == 1.0
    assert value(groups, "sub 0") == 0.5
    assert {group.split for group in groups} == {"none"}


def test_ai2d_with_and_without_its_mask_are_two_benchmarks(data: Path) -> None:
    masked, unmasked = (read_suite(name, root=data) for name in ("AI2D_TEST", "AI2D_TEST_NO_MASK"))
    assert [score_by_rules(suite, predictions(right(suite))).dataset for suite in (masked, unmasked)] == [
        "AI2D_TEST",
        "AI2D_TEST_NO_MASK",
    ]
    assert value(score_by_rules(masked, predictions(right(masked))).whole.groups, "foodChains") == 1.0


def test_splits_are_given_apart(tmp_path: Path) -> None:
    rows = [{**row, "split": ("dev", "test")[place % 2]} for place, row in enumerate(mmstar_rows(8))]
    write(tmp_path / "own.tsv", rows)
    suite = read_suite("own", root=tmp_path)
    groups = score_by_rules(suite, predictions(right(suite) | {"1": "A"})).whole.groups
    overall = {group.split: group.measure.value for group in groups if group.kind == "overall"}
    assert overall == {"all": 7 / 8, "dev": 1.0, "test": 3 / 4}
    assert found(groups, "coarse perception", split="dev").measure.n == 2


# Circles


def test_a_circle_is_right_if_every_turn_is(data: Path) -> None:
    suite = read_suite("MMBench_DEV_EN_V11", root=data)
    perfect = score_by_rules(suite, predictions(right(suite)))
    assert (perfect.whole.overall.value, perfect.whole.overall.n) == (1.0, 3)
    # Every turn answered with the letter that is right for the first one.
    parrot = score_by_rules(suite, predictions(dict.fromkeys(right(suite), "A")))
    assert parrot.whole.overall.value == 0.0
    one_wrong = right(suite) | {"2000001": "A" if right(suite)["2000001"] != "A" else "B"}
    groups = score_by_rules(suite, predictions(one_wrong)).whole.groups
    assert value(groups, "Overall") == 2 / 3
    assert (value(groups, "AR"), value(groups, "RR"), value(groups, "FP-S")) == (0.0, 1.0, 1.0)
    assert value(groups, "identity_reasoning") == 0.0
    assert {group.split for group in groups} == {"dev"}


def test_an_unread_turn_leaves_its_circle_open_unless_another_turn_is_wrong(data: Path) -> None:
    suite = read_suite("MMBench_DEV_EN_V11", root=data)
    texts = right(suite) | {"1000000": "who knows", "1000001": "who knows", "2000001": "E. g. A, B"}
    texts["3000001"] = "A" if texts["3000001"] != "A" else "B"
    scores = score_by_rules(suite, predictions(texts)).whole
    assert (scores.overall.value, scores.overall.n, scores.overall.unscored) == (1 / 2, 2, 1)
    assert value(scores.exact, "Overall") == 1 / 3


def test_a_base_row_must_belong_to_its_own_circle() -> None:
    assert circles([1, 3, 1_000_003], [None, None, None]) == {1: [0], 3: [1, 2]}
    assert circles([1, 3], [2, 1]) == {}
    assert circles([1, 3], [1, 1]) == {1: [0, 1]}


def test_circles_may_be_named_by_a_column_and_need_their_base_row(tmp_path: Path) -> None:
    rows = [dict(row) for row in mmbench_rows(2)]
    for row in rows:
        row["g_index"] = 1  # all eight are one circle
    write(tmp_path / "MMBench_DEV_EN_V11.tsv", rows)
    suite = read_suite("MMBench_DEV_EN_V11", root=tmp_path)
    assert len(suite.first(1).lines) == 8
    scores = score_by_rules(suite, predictions(right(suite))).whole
    assert (scores.overall.value, scores.overall.n) == (1.0, 1)
    rows[0]["g_index"] = ""  # the others become 1.0, and this one goes by its number
    write(tmp_path / "MMBench_DEV_EN_V11.tsv", rows)
    suite = read_suite("MMBench_DEV_EN_V11", root=tmp_path)
    assert score_by_rules(suite, predictions(right(suite))).whole.overall.n == 2
    for row in rows:
        row["g_index"] = 5  # of which there is no row
    write(tmp_path / "MMBench_DEV_EN_V11.tsv", rows)
    suite = read_suite("MMBench_DEV_EN_V11", root=tmp_path)
    assert score_by_rules(suite, predictions(right(suite))).whole.overall.n == 0


def test_a_circle_without_all_its_predictions_is_open_but_vlmevalkit_scores_what_is_there(data: Path) -> None:
    suite = read_suite("MMBench_DEV_EN_V11", root=data)
    texts = right(suite)
    del texts["1000000"], texts["1"]
    scores = score_by_rules(suite, predictions(texts)).whole
    assert (scores.overall.value, scores.overall.n, scores.overall.unscored) == (1.0, 1, 2)
    assert found(scores.exact, "Overall").measure.n == 2  # circle 1 has no base row there
    assert scores.counts.missing == 2


def test_a_benchmark_without_answers_is_not_scored(data: Path) -> None:
    suite = read_suite("MMBench_TEST_EN_V11", root=data)
    with pytest.raises(InputError, match="holds no answers, so it cannot be scored here"):
        score_by_rules(suite, predictions({line.index: "A" for line in suite.lines}))


# Yes and no


def test_hallusionbench_has_three_accuracies_and_their_mean(data: Path) -> None:
    suite = read_suite("HallusionBench", root=data)
    texts = right(suite)
    wrong = "VD_illusion_1_4_1_0"
    texts[wrong] = "No" if texts[wrong] == "Yes" else "Yes"
    groups = score_by_rules(suite, predictions(texts)).whole.groups
    # Set 4 has 3 figures with 2 questions each: one wrong answer spoils a figure and a question.
    assert value(groups, "illusion", "aAcc") == 5 / 6
    assert value(groups, "illusion", "fAcc") == 2 / 3
    assert value(groups, "illusion", "qAcc") == 1 / 2
    assert value(groups, "illusion", "average") == pytest.approx((5 / 6 + 2 / 3 + 1 / 2) / 3)
    assert value(groups, "VS", "aAcc") == 1.0
    assert found(groups, "Overall", "aAcc").measure.n == 20
    assert score_by_rules(suite, predictions(texts)).whole.overall == found(groups, "Overall", "average").measure


def test_families_with_the_same_subcategory_share_their_groups(data: Path) -> None:
    suite = read_suite("HallusionBench", root=data)
    texts = right(suite)
    texts["VS_ocr_1_0_1_0"] = "No" if texts["VS_ocr_1_0_1_0"] == "Yes" else "Yes"
    groups = score_by_rules(suite, predictions(texts)).whole.groups
    # VS and VD ocr have figures 1 and 2, and 0, 1 and 2: three groups, not five.
    assert found(groups, "ocr", "fAcc").measure.n == 3
    assert value(groups, "ocr", "fAcc") == 2 / 3
    assert found(groups, "VD", "fAcc").measure.n == 6
    assert value(groups, "VD", "fAcc") == 1.0


def test_an_unknown_answer_leaves_its_groups_open_unless_one_is_wrong(data: Path) -> None:
    suite = read_suite("HallusionBench", root=data)
    texts = right(suite) | {"VD_illusion_1_4_1_0": "Yes and no", "VD_illusion_1_4_2_0": "so so"}
    texts["VD_illusion_1_4_2_1"] = "No" if texts["VD_illusion_1_4_2_1"] == "Yes" else "Yes"
    scores = score_by_rules(suite, predictions(texts)).whole
    answers, figures = (found(scores.groups, "illusion", metric).measure for metric in ("aAcc", "fAcc"))
    assert (answers.value, answers.n, answers.unscored) == (3 / 4, 4, 2)
    assert (figures.value, figures.n, figures.unscored) == (1 / 2, 2, 1)
    assert value(scores.exact, "illusion", "aAcc") == 3 / 6
    assert value(scores.exact, "illusion", "fAcc") == 1 / 3


def test_hallusionbench_draws_whole_sets(tmp_path: Path) -> None:
    # Twenty sets of which all questions fare alike: twenty cases, not 160.
    rows = []
    for number in range(20):
        rows += [{**row, "index": str(row["index"]).replace("_13_", f"_{number}_")} for row in hallusion_rows()[2:6]]
    write(tmp_path / "HallusionBench.tsv", rows)
    suite = read_suite("HallusionBench", root=tmp_path)
    texts = {
        index: text if int(index.split("_")[3]) < 10 else {"Yes": "No", "No": "Yes"}[text]
        for index, text in right(suite).items()
    }
    measure = found(score_by_rules(suite, predictions(texts)).whole.groups, "Overall", "aAcc").measure
    assert measure.low is not None
    assert measure.high is not None
    assert measure.value == 0.5
    assert measure.method == "bootstrap"
    assert measure.high - measure.low == pytest.approx(4 * (0.25 / 20) ** 0.5, abs=0.06)


# MathVista


def test_mathvista_is_scored_by_task_and_skill(data: Path) -> None:
    suite = read_suite("MathVista_MINI", root=data)
    scores = score_by_rules(suite, predictions(right(suite))).whole
    # The list is never right, whatever is said.
    assert scores.overall.value == 5 / 6
    groups = scores.groups
    assert value(groups, "statistical reasoning") == 1 / 2
    assert value(groups, "logical reasoning") == 1.0
    assert value(groups, "numeric commonsense") == 1.0
    assert value(groups, "math word problem") == 1 / 2
    assert found(groups, "arithmetic reasoning").measure.n == 2
    # Two choices, 4 and 0.5 need no judge; 0 and the list do.
    assert value(groups, "Overall", "direct") == 4 / 6


def test_a_value_that_must_be_taken_out_by_a_judge_is_unscored_and_exactly_wrong(data: Path) -> None:
    suite = read_suite("MathVista_MINI", root=data)
    texts = right(suite) | {"2": "There are 4 left.", "3": "5", "4": "half"}
    scores = score_by_rules(suite, predictions(texts)).whole
    assert (scores.overall.value, scores.overall.n, scores.overall.unscored) == (2 / 4, 4, 2)
    assert value(scores.exact, "Overall") == 2 / 6
    assert [reading.by for reading in scores.readings] == [
        By.VALUE,
        By.UNREAD,
        By.VALUE,
        By.UNREAD,
        By.NEVER,
        By.VALUE,
    ]


# MM-Vet


def test_mmvet_is_unscored_without_a_judge(data: Path) -> None:
    suite = read_suite("MMVet", root=data)
    scores = score_by_rules(suite, predictions(right(suite))).whole
    assert scores.exact is None
    assert (scores.overall.value, scores.overall.n, scores.overall.unscored) == (None, 0, 6)
    assert scores.counts.unscored == 6
    assert scores.counts.by == {"ungraded": 6}


async def test_mmvet_s_grades_are_summed_up_by_capability_and_combination(data: Path) -> None:
    suite = read_suite("MMVet", root=data)
    grades = dict(zip([line.index for line in suite.lines], ["1.0", "0.5", "0", "0.4", "1", None], strict=True))

    async def judge(ask: Ask) -> str | None:
        assert (ask.kind, ask.dataset) == ("grade", "MMVet")
        assert "<AND>" in ask.answer or "<OR>" in ask.answer
        return grades[ask.index]

    scores = (await score(suite, predictions(right(suite)), judge)).whole
    assert scores.overall.value == pytest.approx(2.9 / 5)
    assert (scores.overall.n, scores.overall.unscored, scores.overall.method) == (5, 1, "bootstrap")
    assert scores.overall.low is not None
    assert scores.overall.high is not None
    assert 0 < scores.overall.low < 2.9 / 5 < scores.overall.high < 1
    # The first question, `rec` alone, counts twice: (1 + 1 + 0.5 + 1) / 4.
    alone = found(scores.groups, "rec", kind="capability").measure
    assert alone.value == pytest.approx(3.5 / 4)
    assert alone.n == 4
    assert found(scores.groups, "rec", kind="combination").measure == alone
    assert value(scores.groups, "math") == pytest.approx(0.2)
    assert value(scores.groups, "rec_know_gen") == 0.5
    assert found(scores.groups, "rec_know_gen").measure.unscored == 1
    assert (scores.counts.judged, scores.counts.judge_failed) == (5, 1)


# Whole answers and conclusions


def test_the_whole_answer_and_the_conclusion_are_scored_apart(data: Path) -> None:
    suite = read_suite("MMStar", root=data)
    texts = {index: staged(letter) for index, letter in right(suite).items()}
    texts["0"] = staged("A").replace("<REASONING> So", "<REASONING> Not B, so")
    texts["1"] = "B"
    scores = score_by_rules(suite, predictions(texts))
    assert scores.conclusion is not None
    assert scores.conclusion.counts.without_conclusion == 1
    assert scores.conclusion.overall.value == 11 / 12
    by = {reading.index: reading for reading in scores.conclusion.readings}
    assert (by["1"].by, by["1"].hit) == (By.NO_CONCLUSION, 0.0)
    assert by["0"].hit == 1.0
    whole = {reading.index: reading for reading in scores.whole.readings}
    assert whole["0"].hit is None
    assert whole["1"].hit == 1.0
    assert scores.whole.overall.n == 11


def test_answers_without_any_conclusion_have_no_such_score(data: Path) -> None:
    suite = read_suite("MMStar", root=data)
    assert score_by_rules(suite, predictions(right(suite))).conclusion is None


def test_what_was_cut_off_blanked_or_never_came_is_counted(data: Path) -> None:
    suite = read_suite("MMStar", root=data)
    texts = right(suite) | {"3": "None", "4": "N/A", "5": ""}
    del texts["6"]
    made = [Prediction(index=index, text=text, truncated=index in ("1", "2")) for index, text in texts.items()]
    counts = score_by_rules(suite, made).whole.counts
    assert (counts.questions, counts.missing, counts.truncated, counts.blanked) == (12, 1, 2, 3)
    assert counts.unscored == 4


def test_predictions_that_fit_no_row_or_two_are_refused(data: Path) -> None:
    suite = read_suite("MMStar", root=data)
    with pytest.raises(InputError, match="MMStar has no question 99 here"):
        score_by_rules(suite, predictions({"99": "A"}))
    with pytest.raises(InputError, match="two predictions for MMStar 1"):
        score_by_rules(suite, [Prediction(index="1", text="A"), Prediction(index="1", text="B")])


def test_the_generation_is_followed_and_recorded(data: Path) -> None:
    suite = read_suite("MMStar", root=data)
    texts = dict.fromkeys(right(suite), "A red cube it is, I should think, or so they say")
    newest = score_by_rules(suite, predictions(texts))
    oldest = score_by_rules(suite, predictions(texts), Settings(generation="2024"))
    assert (newest.generation, oldest.generation) == ("2026-06", "2024")
    assert (newest.whole.overall.n, oldest.whole.overall.n) == (12, 12)
    assert {reading.by for reading in newest.whole.readings} == {By.TEXT}
    assert {reading.by for reading in oldest.whole.readings} == {By.LETTER}
    strict = score_by_rules(suite, predictions(dict.fromkeys(right(suite), "A x y z")), Settings(verbose=True))
    assert strict.verbose
    assert strict.whole.overall.n == 0


def test_scores_go_through_json(data: Path) -> None:
    suite = read_suite("HallusionBench", root=data)
    scores = score_by_rules(suite, predictions({index: staged(text) for index, text in right(suite).items()}))
    again = Scores.model_validate_json(scores.model_dump_json())
    assert again == scores
    assert json.loads(scores.model_dump_json())["file"]["md5"] == suite.file.md5


# With a judge


async def test_a_judge_is_asked_only_where_vlmevalkit_would_ask_one(data: Path) -> None:
    asked: list[Ask] = []

    async def judge(ask: Ask) -> str | None:
        asked.append(ask)
        return {"option": "A", "yes-no": "Yes", "value": "4"}[ask.kind]

    star = read_suite("MMStar", root=data)
    scores = await score(star, predictions(right(star) | {"0": "who knows", "1": "who knows"}), judge)
    assert [ask.index for ask in asked] == ["0", "1"]
    assert asked[0].options == {"A": "a red cube", "B": "a ball", "C": "a cone", "D": "nothing"}
    assert list(asked[0].temperatures) == [0.0, 0.0, 0.0]
    assert (scores.whole.overall.value, scores.whole.overall.n) == (11 / 12, 12)
    assert value(scores.whole.exact, "Overall") == 10 / 12  # exact never knows of a judge
    assert scores.judged
    assert scores.whole.counts.judged == 2
    asked.clear()
    hallusion = read_suite("HallusionBench", root=data)
    await score(hallusion, predictions(right(hallusion) | {"VD_illusion_1_4_1_0": "?"}), judge)
    assert [(ask.index, ask.kind) for ask in asked] == [("VD_illusion_1_4_1_0", "yes-no")]
    assert list(asked[0].temperatures) == [0.0, 0.5, 1.0, 1.5, 2.0]
    asked.clear()
    vista = read_suite("MathVista_MINI", root=data)
    scores = await score(vista, predictions(right(vista) | {"2": "There are 4 left.", "4": "1.0"}), judge)
    # A wrong number and a right 0 go to the judge there, too.
    assert [ask.index for ask in asked] == ["2", "3", "4"]
    assert [reading.hit for reading in scores.whole.readings] == [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]


async def test_a_judge_that_fails_leaves_the_text_unscored_and_what_it_raises_is_raised(data: Path) -> None:
    suite = read_suite("MMStar", root=data)
    texts = predictions(right(suite) | {"0": "who knows"})

    async def silent(ask: Ask) -> str | None:
        return None

    scores = (await score(suite, texts, silent)).whole
    assert (scores.overall.value, scores.overall.n, scores.overall.unscored) == (1.0, 11, 1)
    assert (scores.counts.judge_failed, scores.counts.judged) == (1, 0)
    vista = read_suite("MathVista_MINI", root=data)
    found = (await score(vista, predictions(right(vista) | {"2": "four", "4": "0.7"}), silent)).whole
    # A wrong number needs nobody to take it out.
    assert [reading.hit for reading in found.readings] == [1.0, None, 1.0, 0.0, 0.0, 1.0]
    assert found.counts.judge_failed == 1

    async def broken(ask: Ask) -> str | None:
        raise RuntimeError("no network")

    with pytest.raises(RuntimeError, match="no network"):
        await score(suite, texts, broken)

    async def wild(ask: Ask) -> str | None:
        return "Q"

    with pytest.raises(ValueError, match="a judge chose 'Q' for MMStar 0"):
        await score(suite, texts, wild)
    with pytest.raises(InputError, match="concurrency is 0"):
        await score(suite, texts, silent, concurrency=0)


def test_a_judge_s_reply_is_read_by_the_same_rules() -> None:
    option = Ask(kind="option", dataset="x", index="1", question="?", prediction="?", options={"A": "red", "B": "blue"})
    assert read_reply(option, "B") == "B"
    assert read_reply(option, "is it red?") == "A"
    assert read_reply(option, "Z") == "Z"
    assert read_reply(option, "hm") is None
    assert read_reply(option, "Failed to obtain answer via API") is None
    yes_no = Ask(kind="yes-no", dataset="x", index="1", question="?", prediction="?")
    assert [read_reply(yes_no, text) for text in ("No.", "Unknown", "hm")] == ["No", "Unknown", None]
    value = Ask(kind="value", dataset="x", index="1", question="?", prediction="?")
    assert read_reply(value, " 4") == " 4"
    assert read_reply(value, "Failed to obtain answer via API.") is None
    grade = Ask(kind="grade", dataset="x", index="1", question="?", prediction="?")
    replies = ["0.5", " 1 \n", "1.5", "-0.1", "0.5 because", "nan", ""]
    assert [read_reply(grade, text) for text in replies] == ["0.5", "1", None, None, None, None, None]
