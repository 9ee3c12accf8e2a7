"""Staged answers in which one stage is wrong, and what follows from it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from stepsight.stages import STAGES, Stage
from stepsight.world.corruption import (
    Faults,
    corrupt_answer,
    corrupt_options,
    corrupt_program,
    corrupt_things,
    corrupt_walk,
    muddle_things,
    muddle_walk,
)
from stepsight.world.programs import Program, Seen
from stepsight.world.split import Posed
from stepsight.world.teacher import write_caption, write_reasoning, write_summary
from stepsight.world.walks import Unanswerable, Walk, walk

SPOILED: dict[Stage | None, float] = {
    None: 0.25,
    Stage.SUMMARY: 0.06,
    Stage.CAPTION: 0.39,
    Stage.REASONING: 0.26,
    Stage.CONCLUSION: 0.04,
}
"""How often which stage is the first that is wrong; None: none is."""


def spoil(rng: random.Random, posed: Posed, faults: Faults, *, muddled: float = 0.0) -> dict[Stage, str]:
    """The four stages of an answer that goes wrong at most once; behind a wrong CAPTION, REASONING follows it.

    Args:
        rng: decides.
        posed: the question, and all that is true of it.
        faults: in which ways a stage goes wrong.
        muddled: in this share of wrong stages there are many faults instead of one or two.
    """
    stages = dict(posed.stages)
    first = rng.choices(list(SPOILED), list(SPOILED.values()))[0]
    program, choices = posed.asked.program, posed.asked.choices
    many = rng.random() < muddled
    share = rng.choice((0.05, 0.1, 0.25))
    if first is Stage.SUMMARY:
        stages[Stage.SUMMARY] = write_summary(rng, corrupt_program(rng, program))
    elif first is Stage.CAPTION:
        few = rng.choice((1, 1, 1, 2))
        things = muddle_things(rng, posed.things, share) if many else corrupt_things(rng, posed.things, few, faults)
        stages[Stage.CAPTION] = write_caption(rng, things)
        stages |= _follow(program, things, choices) or {}
    elif first is Stage.REASONING:
        way = walk(program, posed.things)
        if many:
            stages |= _conclude(rng, program, muddle_walk(rng, program, way, share), choices)
        elif choices and rng.random() < faults.options:
            letter, read = corrupt_options(rng, way.answer, choices)
            stages[Stage.REASONING], stages[Stage.CONCLUSION] = write_reasoning(program, way, letter, read), letter
        else:
            stages |= _conclude(rng, program, corrupt_walk(rng, program, way, posed.things), choices)
    elif first is Stage.CONCLUSION:
        stages[Stage.CONCLUSION] = corrupt_answer(rng, program, posed.asked.answer, choices)
    return {stage: stages[stage] for stage in STAGES}


def _follow(program: Program, things: Sequence[Seen], choices: Sequence[str]) -> dict[Stage, str] | None:
    """What holds of a CAPTION; None where its objects allow no answer, or none of the choices."""
    try:
        way = walk(program, things)
    except Unanswerable:
        return None
    if choices and way.answer not in choices:
        return None
    letter = letter_of(way.answer, choices)
    return {Stage.REASONING: write_reasoning(program, way, letter, choices), Stage.CONCLUSION: letter or way.answer}


def _conclude(rng: random.Random, program: Program, way: Walk, choices: Sequence[str]) -> dict[Stage, str]:
    """A wrong way to an answer, and the answer; if that is none of the choices, any of them is taken for it."""
    letter = letter_of(way.answer, choices) or (rng.choice("ABCDEFGH"[: len(choices)]) if choices else "")
    return {Stage.REASONING: write_reasoning(program, way, letter, choices), Stage.CONCLUSION: letter or way.answer}


def letter_of(answer: str, choices: Sequence[str]) -> str:
    """The letter of an answer among the choices; empty if it is none of them."""
    return "ABCDEFGH"[choices.index(answer)] if answer in choices else ""
