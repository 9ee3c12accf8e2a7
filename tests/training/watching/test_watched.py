"""What became of answers is counted as an evaluation counts it, and told to whoever wants to know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepsight.evaluation.report import score, summarise
from stepsight.records import Candidate, Finish, Piece, Question, Trace, Usage
from stepsight.stages import Stage, parse, render
from stepsight.training.watching.watched import (
    WATCH,
    Answers,
    StageLosses,
    Watched,
    forget_after,
    logged_values,
    read_watched,
    said_by,
    sum_up,
    told_in_a_line,
)
from stepsight.world.split import pose

POSED = pose("train", seed=1, index=0)


def trace(number: int, text: str, *, finish: Finish = Finish.STOP, known: bool = True) -> Trace:
    question = POSED.question()
    question = question.model_copy(
        update={"id": str(number), "answer": question.answer if known else None, "meta": question.meta if known else {}}
    )
    candidate = Candidate(id=0, stage=None, slot=0, seed=0, piece=Piece(text=text), finish=finish, tokens=10)
    return Trace(
        question=question,
        strategy="greedy",
        judge=None,
        seed=0,
        settings={},
        candidates=(candidate,),
        verdicts=(),
        chosen=(0,),
        usage=Usage(),
        seconds=1.0,
    )


WRONG = render({**POSED.stages, Stage.CAPTION: "Nothing.", Stage.CONCLUSION: "none of these"})
TRACES = [
    trace(0, render(POSED.stages)),
    trace(1, WRONG),
    trace(2, render(POSED.stages).removeprefix("<SUMMARY>")),
    trace(3, render(POSED.stages)[:80], finish=Finish.LENGTH),
    trace(4, str(POSED.asked.answer)),
    trace(5, render(POSED.stages), known=False),
]


def test_answers_are_counted_by_what_they_say_and_how() -> None:
    answers = sum_up(TRACES, {"6": "no picture"})
    assert answers.asked == 7
    assert answers.failed == {"6": "no picture"}
    assert answers.tokens == 60
    assert answers.cut == 1
    assert (answers.format_valid.value, answers.format_valid.n) == (3 / 6, 6)
    assert (answers.accuracy.value, answers.accuracy.n) == (1 / 5, 5)
    # The CONCLUSION of a malformed answer, and all of one without stages, may be right.
    assert (answers.accuracy_any_format.value, answers.accuracy_any_format.n) == (3 / 5, 5)
    assert answers.accuracy.low == pytest.approx(0.0362, abs=1e-4)
    assert answers.accuracy.high == pytest.approx(0.6245, abs=1e-4)
    assert answers.faults == {"missing": 3, "outside_text": 2, "unclosed": 1, "unopened": 1}


def test_an_evaluation_of_the_same_traces_says_the_same() -> None:
    from stepsight.world.checker import check

    answers = sum_up(TRACES[:4], {})
    rows = [score(one.question, one, check) for one in TRACES[:4]]
    report = summarise(rows, strategy="greedy", judge=None, seed=0, settings={}, wall=1.0)
    for name in ("accuracy", "accuracy_any_format", "format_valid", "caption_true", "reasoning_true", "faults"):
        assert getattr(answers, name) == getattr(report, name), name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3", "3"),
        (" so it is 3 ", "so it is 3"),
        ("", None),
        ("<CONCLUSION> 3 </CONCLUSION>", "3"),
        ("<SUMMARY> a </SUMMARY> 3", None),
        ("<SUMMARY> 3", None),
        ("3 </CONCLUSION>", None),
    ],
)
def test_what_an_answer_says(text: str, said: str | None) -> None:
    assert said_by(text, parse(text)) == said


def look(step: int, answers: Answers | None = None) -> Watched:
    losses = StageLosses(
        rows=1,
        tokens={"caption": 3, "all": 3},
        loss={"caption": 0.5, "all": 0.5},
        token_accuracy={"caption": 2 / 3, "all": 2 / 3},
    )
    return Watched(step=step, losses=losses, answers=answers, seconds=1.25)


def test_lines_are_read_in_order_and_those_behind_a_step_forgotten(tmp_path: Path) -> None:
    path = tmp_path / WATCH
    lines = [look(step).model_dump_json() for step in (0, 20, 10)]
    # A step that was done again before its line was dropped counts as it was done last.
    again = look(10, sum_up(TRACES, {})).model_dump_json()
    path.write_text("\n".join([*lines, again, '{"step": 30, "lo']) + "\n", encoding="utf-8")
    assert [one.step for one in read_watched(tmp_path)] == [0, 10, 20]
    assert read_watched(tmp_path)[1].answers is not None
    forget_after(tmp_path, 10)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 10]
    forget_after(tmp_path, -1)
    assert path.read_text() == ""
    forget_after(tmp_path / "elsewhere", 5)


def test_trackers_get_flat_numbers() -> None:
    values = logged_values(look(3, sum_up(TRACES, {})))
    assert values["eval_loss"] == values["eval_loss_caption"] == 0.5
    assert values["eval_token_accuracy_caption"] == 0.66667
    assert values["eval_accuracy"] == 0.2
    assert values["eval_fault_missing"] == 3
    assert all(isinstance(value, int | float) for value in values.values())
    unknown = sum_up([TRACES[5]], {})
    assert "eval_accuracy" not in logged_values(look(3, unknown))


def test_the_line_says_what_matters() -> None:
    line = told_in_a_line(look(3, sum_up(TRACES, {"6": "no picture"})))
    assert line == (
        "step 3, loss 0.5 (caption 0.5), valid 50 % (19 to 81), right 20 % (4 to 62), 1 cut, 1 failed, 1.2 s"
    )
    assert "right unknown" in told_in_a_line(look(3, sum_up([TRACES[5]], {})))


def test_questions_without_anything_known_are_told_apart() -> None:
    question = Question(id="a", text="b?")
    answers = sum_up([trace(0, "x", known=False).model_copy(update={"question": question})], {})
    assert answers.accuracy.value is None
    assert answers.caption_true.n == 0
