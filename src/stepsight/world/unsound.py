"""Replies of a teacher that went wrong in one named way, and in that way for certain.

malformed   the four stages are not there as they should be: `stages.parse` finds a fault before the last closing tag
wrong       four stages in order, and a CONCLUSION that is not the answer
refusal     the teacher declines, in plain words or inside the CONCLUSION of a staged answer
truncated   the text ends in the middle of a stage
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from stepsight.stages import SEPARATOR, STAGES, Stage, parse, render, render_stage
from stepsight.world.corruption import corrupt_answer
from stepsight.world.programs import Program


class Unsound(StrEnum):
    """How a reply goes wrong."""

    MALFORMED = "malformed"
    WRONG = "wrong"
    REFUSAL = "refusal"
    TRUNCATED = "truncated"


REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I'm sorry, I cannot identify what is shown in this picture.",
    "I am unable to answer questions about this image.",
)


@dataclass(frozen=True)
class Reply:
    """What a teacher wrote. `variant` says which way of going wrong it was; `cut`: it ended before its end."""

    text: str
    variant: str = ""
    cut: bool = False


def spoil_reply(
    rng: random.Random,
    how: Unsound,
    stages: Mapping[Stage, str],
    *,
    program: Program,
    answer: str,
    choices: tuple[str, ...],
) -> Reply:
    """A reply that is unsound in the given way, made from the stages of a true one.

    Args:
        rng: decides.
        how: what goes wrong.
        stages: inner texts of all four stages.
        program: what the question asks.
        answer: the known answer: a letter where there are choices.
        choices: empty for a free answer.
    """
    if how is Unsound.WRONG:
        wrong = corrupt_answer(rng, program, answer, choices)
        return Reply(render({**stages, Stage.CONCLUSION: wrong}), "another answer")
    if how is Unsound.REFUSAL:
        words = rng.choice(REFUSALS)
        if rng.random() < 0.5:
            return Reply(words, "plain words")
        return Reply(render({**stages, Stage.CONCLUSION: words}), "inside the conclusion")
    if how is Unsound.TRUNCATED:
        whole = render(stages)
        end = whole.index(Stage.REASONING.close)
        return Reply(whole[: rng.randrange(whole.index(Stage.CAPTION.open) + 12, end)], "cut", cut=True)
    return _malformed(rng, stages)


def _malformed(rng: random.Random, stages: Mapping[Stage, str]) -> Reply:
    stage = rng.choice(STAGES)
    rest = [one for one in STAGES if one is not stage]
    variants = {
        "a stage is missing": render({one: stages[one] for one in rest}),
        "a stage is not closed": render(stages).replace(stage.close, ""),
        "a stage is not opened": render(stages).replace(stage.open, ""),
        "stages are out of order": SEPARATOR.join(
            render_stage(one, stages[one]) for one in (Stage.CAPTION, Stage.SUMMARY, Stage.REASONING, Stage.CONCLUSION)
        ),
        "a stage is written twice": SEPARATOR.join((render_stage(stage, stages[stage]), render(stages))),
        "a stage is empty": render(stages).replace(f"{stage.open} {stages[stage].strip()} ", f"{stage.open} "),
        "there is text outside": SEPARATOR.join(("Sure, here is the answer.", render(stages))),
        "tags are lower case": render(stages).replace(stage.open, stage.open.lower()).replace(stage.close, ""),
    }
    variant = rng.choice(list(variants))
    text = variants[variant]
    # Who asks stops at the last closing tag; a fault behind it would be none.
    asked, last, _ = text.partition(STAGES[-1].close)
    assert not parse(f"{asked}{last}").valid, f"{variant}: {text}"
    return Reply(text, variant)
