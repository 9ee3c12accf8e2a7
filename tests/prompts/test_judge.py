"""Judging prompts: the trained wording to the letter, and the prefix shared with the answering prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.errors import InputError
from stepsight.prompts import answer_turns, judge_prompts, pair_turns, question_text, screen_turns, whole_text
from stepsight.prompts.reward import reward_prompts, reward_turns
from stepsight.protocols import Turn
from stepsight.records import Question
from stepsight.stages import STAGES, Stage, render

QUESTION = Question(id="q", text="Which is left?", choices=("cube", "ball"), images=(Path("a.png"),))
HINTS = {Stage.SUMMARY: "S", Stage.CAPTION: "C", Stage.REASONING: "R"}
UNITS = (*STAGES, None)
SHORT, PAPER = judge_prompts("short-2"), judge_prompts("paper-1")


def test_question_text_ends_with_lettered_choices() -> None:
    assert question_text(QUESTION) == "Which is left?\nA. cube\nB. ball"
    assert question_text(Question(id="q", text="Why?")) == "Why?"


def test_answer_prompt_is_one_user_turn_without_a_word_on_stages() -> None:
    (turn,) = answer_turns(QUESTION)
    assert (turn.role, turn.images, turn.text) == ("user", QUESTION.images, question_text(QUESTION))


def test_what_was_said_earlier_stands_before_the_question() -> None:
    earlier = [
        {"role": "system", "text": "Be brief."},
        {"role": "user", "text": "How many?", "images": 1},
        {"role": "assistant", "text": "Two.", "images": 0},
    ]
    pictures = (Path("a.png"), Path("b.png"))
    question = QUESTION.model_copy(update={"meta": {"earlier": earlier}, "images": pictures})
    assert answer_turns(question) == (
        Turn("system", "Be brief."),
        Turn("user", "How many?", (Path("a.png"),)),
        Turn("assistant", "Two."),
        Turn("user", question_text(question), (Path("b.png"),)),
    )
    context = "System: Be brief.\nUser: How many?\nAssistant: Two.\nUser: Which is left?\nA. cube\nB. ball"
    (pair,) = pair_turns(SHORT, question, Stage.CAPTION, {}, "x", "y")
    assert (pair.text, pair.images) == (f"{context}\n\nCAPTION 1. x\nCompare 2. y", pictures)
    assert screen_turns(SHORT, question, "C", "R")[0].text.startswith(f"{context}\n\nCAPTION: C")
    assert reward_turns(reward_prompts("released-1"), question, Stage.CAPTION)[:3] == answer_turns(question)[:3]


def test_more_choices_than_letters_are_refused() -> None:
    with pytest.raises(InputError, match="27 choices"):
        question_text(Question(id="q", text="?", choices=tuple(map(str, range(27)))))


@pytest.mark.parametrize(
    ("stage", "part"),
    [
        (Stage.SUMMARY, "SUMMARY 1. x\nCompare 2. y"),
        (Stage.CAPTION, "CAPTION 1. x\nCompare 2. y"),
        (Stage.REASONING, "CAPTION: C\nREASONING 1. x\nCompare 2. y"),
        (Stage.CONCLUSION, "REASONING: R\nCONCLUSION 1. x\nCompare 2. y"),
        (None, "ANSWER 1. x\nCompare 2. y"),
    ],
)
def test_the_short_set_is_the_wording_that_models_were_trained_on(stage: Stage | None, part: str) -> None:
    (turn,) = pair_turns(SHORT, QUESTION, stage, HINTS, "x", "y")
    assert turn.text == f"{question_text(QUESTION)}\n\n{part}"
    assert SHORT.options == ("1", "2")


def test_short_1_screen_is_text_only_and_to_the_letter() -> None:
    (turn,) = screen_turns(SHORT, QUESTION, "C", "R")
    assert turn.text == f"{question_text(QUESTION)}\n\nCAPTION: C\nREASONING: R\nIs the REASONING correct?"
    assert turn.images == ()
    assert SHORT.screen_options == ("yes", "no")


@pytest.mark.parametrize(
    ("version", "digest"),
    [("short-2", "2a5b2a4ed709d7b7"), ("paper-1", "5a75005ef854bd72"), ("paper-2", "7afe7bd5d3c19120")],
)
def test_a_published_version_never_changes(version: str, digest: str) -> None:
    assert judge_prompts(version).digest == digest


@given(first=st.text(), second=st.text(), stage=st.sampled_from(UNITS), version=st.sampled_from(["short-2", "paper-1"]))
def test_a_pair_prompt_begins_like_the_answer_prompt(
    first: str, second: str, stage: Stage | None, version: str
) -> None:
    (turn,) = pair_turns(judge_prompts(version), QUESTION, stage, HINTS, first, second)
    (asked,) = answer_turns(QUESTION)
    assert turn.role == asked.role
    assert turn.images == asked.images
    assert turn.text.startswith(f"{asked.text}\n\n")
    assert first in turn.text
    assert second in turn.text


@pytest.mark.parametrize("stage", UNITS)
def test_swapping_the_texts_swaps_nothing_else(stage: Stage | None) -> None:
    (one,) = pair_turns(PAPER, QUESTION, stage, HINTS, "@left@", "@right@")
    (other,) = pair_turns(PAPER, QUESTION, stage, HINTS, "@right@", "@left@")
    assert one.text.replace("@left@", "#").replace("@right@", "@left@").replace("#", "@right@") == other.text


def test_braces_in_texts_are_left_alone() -> None:
    (turn,) = pair_turns(PAPER, QUESTION, Stage.REASONING, {Stage.CAPTION: "{first}"}, "{second}", "{0}")
    assert "{first}" in turn.text
    assert "{second}" in turn.text


def test_paper_1_shows_the_hints_of_the_paper() -> None:
    def hints(stage: Stage | None) -> set[str]:
        marked = {earlier: f"<<{earlier}>>" for earlier in STAGES}
        (turn,) = pair_turns(PAPER, QUESTION, stage, marked, "x", "y")
        return {earlier.value for earlier in STAGES if marked[earlier] in turn.text}

    assert hints(Stage.SUMMARY) == hints(Stage.CAPTION) == hints(None) == set()
    assert hints(Stage.REASONING) == {"CAPTION"}
    assert hints(Stage.CONCLUSION) == {"CAPTION", "REASONING"}


def test_a_missing_hint_is_left_out() -> None:
    (turn,) = pair_turns(SHORT, QUESTION, Stage.REASONING, {}, "x", "y")
    assert turn.text.endswith("\n\nREASONING 1. x\nCompare 2. y")


def test_whole_answers_are_shown_by_their_stages_or_raw() -> None:
    answer = render({stage: stage.key for stage in STAGES})
    assert whole_text(SHORT, answer) == "caption reasoning conclusion"
    assert whole_text(PAPER, answer) == answer
    assert whole_text(SHORT, f" {answer} and more ") == f"{answer} and more"


def test_an_unknown_set_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean paper-1"):
        judge_prompts("papr-1")
