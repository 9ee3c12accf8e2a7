"""The world's teacher: writes the four stages of a true answer, and of one from any list of objects.

The wording varies; what is said is exact. REASONING takes one object after another, in the caption's order, holds
it against each word of each condition up to the first that fails, and keeps count.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from string import ascii_uppercase

from stepsight.stages import Stage
from stepsight.world.programs import Program, Seen, line_of
from stepsight.world.walks import Step, Walk

OPENERS = ("The picture shows", "I see", "There are", "On the table:")
PLANS = ("I will", "The task is to", "To answer,", "Let me")


def teach(
    rng: random.Random, program: Program, things: Sequence[Seen], way: Walk, choices: Sequence[str]
) -> dict[Stage, str]:
    """The four stages of the answer to `program` by way of `way`; `choices` is empty for a free answer."""
    letter = ascii_uppercase[list(choices).index(way.answer)] if choices else ""
    return {
        Stage.SUMMARY: write_summary(rng, program),
        Stage.CAPTION: write_caption(rng, things),
        Stage.REASONING: write_reasoning(program, way, letter, choices),
        Stage.CONCLUSION: letter or way.answer,
    }


def write_summary(rng: random.Random, program: Program) -> str:
    """What will be done, with every group by its canonical name."""
    return f"{rng.choice(PLANS)} {_plan(program)}."


def summaries(program: Program) -> tuple[str, ...]:
    """All that `write_summary` may write for a program."""
    return tuple(f"{opener} {_plan(program)}." for opener in PLANS)


def _plan(program: Program) -> str:
    first, last = program.groups[0], program.groups[-1]
    return {
        "count": f"count the {first.many}",
        "exist": f"look for a {first.one}",
        "compare": (
            f"count the {first.many} and the {last.many} and see if the first is {program.comparison} the second"
        ),
        "attribute": f"find the {first.one} and read its {program.attribute}",
        "spatial": f"find the {last.one} and count the {first.many} {program.relation} it",
        "subtract-one": f"take away the {first.many} and count what is left",
        "subtract-two": f"take away the {first.many} and the {last.many} and count what is left",
        "add": f"count the {first.many} and add {program.amount}",
    }[program.family]


def write_caption(rng: random.Random, things: Sequence[Seen]) -> str:
    """All objects in reading order, each after the grid cell in which it stands."""
    return f"{rng.choice(OPENERS)} {', '.join(thing.words for thing in things)}."


def write_reasoning(program: Program, way: Walk, letter: str, choices: Sequence[str] = ()) -> str:
    """One sentence to begin, one per object, one or two to end; a spatial question first finds what it looks from."""
    sentences = []
    if way.finding:
        sentences.append(f"Find the {program.groups[-1].one}:")
        sentences += [f"{step.thing.words}: {write_checks(step)}." for step in way.finding]
    sentences.append(_beginning(program, way))
    for step in way.steps:
        tally = " and ".join(str(number) for number in step.tally)
        sentences.append(f"{step.thing.words}: {write_checks(step)}{'; ' + tally if tally else ''}.")
    sentences.append(_ending(program, way))
    if letter:
        sentences.append(write_options(letter, choices))
        sentences.append(f"That is option {letter}.")
    return " ".join(sentences)


def write_options(letter: str, choices: Sequence[str]) -> str:
    """The options gone through up to the right one, such as `A. 3 no, B. 1 yes.`"""
    last = ascii_uppercase.index(letter)
    looked = zip(ascii_uppercase, choices[: last + 1], strict=False)
    return ", ".join(f"{name}. {choice} {'yes' if name == letter else 'no'}" for name, choice in looked) + "."


def write_checks(step: Step) -> str:
    """The checks of a step, such as `small yes, metal no; purple no`."""
    return "; ".join(
        ", ".join(f"{check.word} {'yes' if check.holds else 'no'}" for check in checks) for checks in step.conditions
    )


def write_place(program: Program, reference: Seen) -> str:
    """Where a spatial question looks, such as `left of C3, column C,`."""
    assert program.relation is not None
    line = line_of(reference.cell, program.relation)
    return f"{program.relation} {reference.cell}, {'row' if line.isdigit() else 'column'} {line},"


def _beginning(program: Program, way: Walk) -> str:
    first, last = program.groups[0], program.groups[-1]
    if program.family == "spatial":
        assert way.reference is not None
        return f"Look {write_place(program, way.reference)} for {first.many}:"
    if program.family == "compare":
        return f"Count {first.many} and {last.many}:"
    if program.family == "subtract-one":
        return f"Take away {first.many}:"
    if program.family == "subtract-two":
        return f"Take away {first.many} and {last.many}:"
    return f"Look for {first.many}:"


def _ending(program: Program, way: Walk) -> str:
    if program.family == "exist":
        return f"So {way.answer}."
    if program.family == "attribute":
        return f"Its {program.attribute} is {way.answer}."
    if program.family == "compare":
        first, second = way.numbers
        negation = "" if way.answer == "yes" else "not "
        return f"{first} is {negation}{program.comparison} {second}, so {way.answer}."
    if program.family in ("subtract-one", "subtract-two"):
        return f"That leaves {way.answer}."
    if program.family == "add":
        return f"That makes {way.numbers[0]}. {way.numbers[0]} plus {program.amount} is {way.answer}."
    return f"That makes {way.answer}."
