"""Files of one's own: what they are taken for, and how short answers are scored."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evaluation.suites.files import Row, ai2d_rows, b64, png, staged, write

from stepsight.errors import InputError
from stepsight.evaluation.scoring.readings import Ask, By
from stepsight.evaluation.suites import Prediction, read_suite, score, score_by_rules


def asked(answers: list[str]) -> list[Row]:
    return [
        {"index": place, "question": "What?", "answer": answer, "category": "x", "image": b64(png(place))}
        for place, answer in enumerate(answers)
    ]


def test_columns_and_answers_say_what_a_file_is(tmp_path: Path) -> None:
    for name, rows in (
        ("a", ai2d_rows(2)),
        ("b", asked(["Yes", "No"])),
        ("c", asked(["Yes", "red"])),
        ("d", asked(["yes", "no"])),
    ):
        write(tmp_path / f"{name}.tsv", rows)
    kinds = [read_suite(name, root=tmp_path).benchmark.rules.kind for name in "abcd"]
    assert kinds == ["multiple choice", "yes or no", "short answers", "short answers"]
    suite = read_suite("a", root=tmp_path)
    assert suite.file.published is None
    assert suite.notices == ()


@pytest.mark.parametrize(
    ("name", "circular"),
    [("my_MMBench_dev", True), ("x_circular", True), ("CCBench2", True), ("mmcr", True), ("MMStar_own", False)],
)
def test_circles_follow_the_name(name: str, circular: bool, tmp_path: Path) -> None:
    write(tmp_path / f"{name}.tsv", ai2d_rows(2))
    kind = read_suite(name, root=tmp_path).benchmark.rules.kind
    assert kind == ("circular multiple choice" if circular else "multiple choice")


def test_yes_and_no_of_one_s_own_are_given_by_category(tmp_path: Path) -> None:
    write(tmp_path / "b.tsv", asked(["Yes", "No", "No"]))
    suite = read_suite("b", root=tmp_path)
    made = [Prediction(index=str(place), text="Yes.") for place in range(3)]
    groups = score_by_rules(suite, made).whole.groups
    assert [(group.kind, group.name, group.measure.value) for group in groups] == [
        ("overall", "Overall", 1 / 3),
        ("category", "x", 1 / 3),
    ]


def test_short_answers_are_scored_by_our_own_rule(tmp_path: Path) -> None:
    write(tmp_path / "c.tsv", asked(["red", "4", "05", "none"]))
    suite = read_suite("c", root=tmp_path)
    texts = ["The answer is Red.", "4.0", "a 5", "None"]
    made = [Prediction(index=str(place), text=staged(text)) for place, text in enumerate(texts)]
    scores = score_by_rules(suite, made)
    assert scores.conclusion is not None
    assert [reading.hit for reading in scores.conclusion.readings] == [1.0, 1.0, 0.0, 1.0]
    assert {reading.by for reading in scores.conclusion.readings} == {By.PLAIN}
    # VLMEvalKit does not score such files, so nothing compares with it.
    assert scores.conclusion.exact is None
    assert scores.whole.overall.value == 0.0


async def test_short_answers_that_are_not_the_known_one_may_be_graded(tmp_path: Path) -> None:
    write(tmp_path / "c.tsv", asked(["red", "blue", "green", "grey"]))
    suite = read_suite("c", root=tmp_path)
    texts = ["red", "a blue cube", "olive", "gray"]
    made = [Prediction(index=str(place), text=text) for place, text in enumerate(texts)]
    seen: list[Ask] = []

    async def judge(ask: Ask) -> str | None:
        seen.append(ask)
        return {"1": "1.0", "2": "0.5", "3": None}[ask.index]

    overall = (await score(suite, made, judge)).whole.overall
    assert [(ask.index, ask.kind, ask.answer) for ask in seen] == [
        ("1", "grade", "blue"),
        ("2", "grade", "green"),
        ("3", "grade", "grey"),
    ]
    assert (overall.value, overall.n, overall.unscored, overall.method) == (2.5 / 3, 3, 1, "bootstrap")


def test_a_file_is_found_in_any_case_of_letters_unless_two_would_do(tmp_path: Path) -> None:
    write(tmp_path / "Mine_mcq.tsv", ai2d_rows(4))
    assert read_suite("mine_MCQ", root=tmp_path).name == "Mine_mcq"
    write(tmp_path / "mine_mcq.tsv", ai2d_rows(4))
    assert read_suite("mine_mcq", root=tmp_path).name == "mine_mcq"
    with pytest.raises(InputError, match="there is no benchmark MINE_MCQ"):
        read_suite("MINE_MCQ", root=tmp_path)
