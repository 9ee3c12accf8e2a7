"""What a teacher is asked: the requirements, the known answer, and what exactly is wrong with a malformed reply."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepsight.errors import InputError
from stepsight.prompts.teacher import (
    Exchange,
    agreement_turns,
    compared_answers,
    describe_fault,
    repair_turns,
    skeleton,
    teacher_prompts,
    teacher_turns,
)
from stepsight.records import Question
from stepsight.stages import STAGES, Fault, FaultKind, Stage, parse

PROMPTS = teacher_prompts("teacher-1")
QUESTION = Question(id="q", text="Which {one} is left?", choices=("cube", "ball"), images=(Path("a.png"),))


def test_a_published_wording_never_changes() -> None:
    assert PROMPTS.digest == "08b9685f08fab608"


def test_the_teacher_is_told_stages_question_answer_earlier_turns_and_hints() -> None:
    (turn,) = teacher_turns(PROMPTS, QUESTION, "{B}", earlier=[Exchange("Is it red?", "no")], hints=["look left"])
    assert turn.images == QUESTION.images
    parts = [*(f"{stage.value}: {PROMPTS.stages[stage]}" for stage in STAGES), PROMPTS.choice, skeleton()]
    parts += ["Question: Is it red?\nAnswer: no", "Which {one} is left?\nA. cube\nB. ball", "{B}", "A hint: look left"]
    places = [turn.text.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)


def test_nothing_is_said_of_what_is_not_there() -> None:
    (turn,) = teacher_turns(PROMPTS, Question(id="q", text="How many?"), "3")
    assert not any(word in turn.text for word in ("talked about", "hint", PROMPTS.choice, "\n\n\n"))


def test_the_skeleton_is_a_sound_answer() -> None:
    assert parse(skeleton()).valid


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_has_words_of_its_own_that_name_its_stage(kind: FaultKind) -> None:
    stage = None if kind is FaultKind.OUTSIDE_TEXT else Stage.CAPTION
    said = describe_fault(PROMPTS, Fault(kind, stage, "there is text outside: '{x}'"))
    assert ("CAPTION" in said) or ("'{x}'" in said)
    assert said not in {describe_fault(PROMPTS, Fault(other, stage, "")) for other in FaultKind if other is not kind}


def test_a_repair_shows_the_reply_and_each_of_its_faults() -> None:
    reply = "Well. <SUMMARY> a </SUMMARY> <CAPTION> b <REASONING> c </REASONING>"
    faults = parse(reply).faults
    assistant, user = repair_turns(PROMPTS, reply, faults)
    assert (assistant.role, assistant.text, user.role) == ("assistant", reply, "user")
    assert all(describe_fault(PROMPTS, fault) in user.text for fault in faults)
    assert len(faults) == 3
    assert "'Well.'" in user.text


def test_a_cut_reply_is_told_that_and_an_empty_one_is_no_empty_turn() -> None:
    assistant, user = repair_turns(PROMPTS, " \n", parse("").faults, truncated=True)
    assert assistant.text
    assert PROMPTS.truncated in user.text
    assert "missing" not in user.text


def test_who_compares_answers_sees_question_and_both() -> None:
    (turn,) = agreement_turns(PROMPTS, QUESTION, "the known", "the other")
    assert turn.images == ()
    assert turn.text.index("B. ball") < turn.text.index("the known") < turn.text.index("the other")


def test_an_unknown_set_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean teacher-1"):
        teacher_prompts("teacher-2")


def test_what_is_compared_is_read_back() -> None:
    for answer, conclusion in (("B", "(B)"), ("{2}", "two.*"), ("a", "a\n\nand b")):
        (turn,) = agreement_turns(PROMPTS, QUESTION, answer, conclusion)
        assert compared_answers(turn.text) == ("Which {one} is left?\nA. cube\nB. ball", answer, conclusion)
        assert compared_answers(f"{turn.text} And why?") is None
