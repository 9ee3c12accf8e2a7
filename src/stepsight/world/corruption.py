"""Stages made wrong on purpose, in the ways in which a model goes wrong; the other half of a judge's training pairs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from stepsight.world.programs import Group, Program, Relation, Seen, attributes_of
from stepsight.world.scene import CELLS, COLUMNS, VALUES, Attribute
from stepsight.world.walks import Step, Walk, conditions_of, count_up, ends_at, examine, follow

FaultKind = Literal["attribute", "cell", "drop", "invent"]


@dataclass(frozen=True)
class Faults:
    """How often a wrong CAPTION is wrong in which way, and how often the options of a wrong REASONING are.

    `kinds`: an object with a wrong attribute, in a wrong cell, left out or invented. `attributes`: which one is wrong.
    `options`: in this share of wrong REASONINGs about a multiple choice, all is right up to the options.
    """

    kinds: Mapping[FaultKind, float]
    attributes: Mapping[Attribute, float]
    options: float


EVERY_FAULT = Faults(
    kinds={"attribute": 0.52, "cell": 0.10, "drop": 0.26, "invent": 0.12},
    attributes={"size": 0.8, "color": 1.0, "material": 1.4, "shape": 1.2},
    options=0.0,
)
"""All faults about as often as one another."""
OWN_FAULTS = Faults(
    kinds={"attribute": 0.68, "cell": 0.07, "drop": 0.18, "invent": 0.07},
    attributes={"size": 1.0, "color": 1.0, "material": 0.5, "shape": 16.0},
    options=0.6,
)
"""As often as a pico that answers well makes them itself: counted in its greedy answers to 1,000 questions of the
training split (docs/log.md). Shapes are hardest to see, and hardly anything else is mistaken."""
LONG_FAULTS = Faults(
    kinds={"attribute": 0.45, "cell": 0.07, "drop": 0.40, "invent": 0.08},
    attributes={"size": 1.0, "color": 1.0, "material": 0.5, "shape": 16.0},
    options=0.6,
)
"""The same on lists longer than any it has learned from, about as counted in 283 wrong captions of the `hard`
split: half leave an object out, half have a wrong shape."""
OPPOSITE: dict[Relation, Relation] = {
    "left of": "right of",
    "right of": "left of",
    "behind": "in front of",
    "in front of": "behind",
}


def corrupt_things(
    rng: random.Random, things: Sequence[Seen], errors: int, faults: Faults = EVERY_FAULT
) -> tuple[Seen, ...]:
    """A list of objects with `errors` faults: a wrong attribute, a wrong cell, an object left out or invented."""
    wrong = list(things)
    touched: set[int] = set()
    for _ in range(errors):
        free = [index for index in range(len(wrong)) if index not in touched]
        if not free:
            break
        index = rng.choice(free)
        kind = rng.choices(list(faults.kinds), list(faults.kinds.values()))[0]
        if kind == "drop" and len(wrong) > 1:
            del wrong[index]
            touched = {other - (other > index) for other in touched}
        elif kind == "invent":
            wrong.append(_invent(rng, wrong))
            touched.add(len(wrong) - 1)
        elif kind == "cell":
            cell = _near(rng, wrong[index].cell, {thing.cell for thing in wrong})
            wrong[index] = replace(wrong[index], cell=cell)
            touched.add(index)
        else:
            attribute = rng.choices(list(faults.attributes), list(faults.attributes.values()))[0]
            wrong[index] = replace(
                wrong[index], **{attribute: _other(rng, attribute, getattr(wrong[index], attribute))}
            )
            touched.add(index)
    return tuple(sorted(wrong, key=lambda thing: CELLS.index(thing.cell)))


def _other(rng: random.Random, attribute: Attribute, value: str) -> str:
    return rng.choice([other for other in VALUES[attribute] if other != value])


def _near(rng: random.Random, cell: str, taken: set[str]) -> str:
    column, row = COLUMNS.index(cell[0]), int(cell[1])
    around = [
        f"{COLUMNS[column + right]}{row + down}"
        for right in (-1, 0, 1)
        for down in (-1, 0, 1)
        if 0 <= column + right < len(COLUMNS) and 1 <= row + down <= len(COLUMNS)
    ]
    free = [other for other in around if other not in taken]
    return rng.choice(free or [other for other in CELLS if other not in taken])


def _invent(rng: random.Random, things: Sequence[Seen]) -> Seen:
    """An object that is not there: a copy of another one, half of the time altered, in a cell nearby."""
    model = rng.choice(list(things))
    cell = _near(rng, model.cell, {thing.cell for thing in things})
    if rng.random() < 0.5:
        model = replace(model, color=rng.choice(VALUES["color"]))
    return replace(model, cell=cell)


def corrupt_walk(rng: random.Random, program: Program, way: Walk, things: Sequence[Seen]) -> Walk:
    """A way to a wrong end, or to the right one by a wrong step: a verdict, a count, an object or the sum is off.

    Objects may also be left out, or looked at twice.
    """
    kinds = ["verdict", "verdict", "verdict", "copy", "skip", "repeat"]
    if way.steps and way.steps[0].tally:
        kinds += ["tally", "tally", "sum"]
    kind = rng.choice(kinds)
    steps = list(way.steps)
    index = rng.randrange(len(steps))
    if kind == "sum":
        return replace(way, answer=_wrong_answer(rng, program, way.answer))
    if kind == "skip" and len(steps) > 1:
        del steps[index]
        return follow(program, count_up(program, steps), way.reference, way.finding)
    if kind == "repeat":
        steps.insert(rng.randint(index + 1, len(steps)), steps[index])
        return follow(program, count_up(program, steps), way.reference, way.finding)
    if kind == "copy":
        attribute = rng.choice(list(VALUES))
        thing = steps[index].thing
        altered = replace(thing, **{attribute: _other(rng, attribute, getattr(thing, attribute))})
        steps[index] = replace(steps[index], thing=altered)
        return replace(way, steps=tuple(steps))
    if kind == "tally" and steps[index].tally:
        off = rng.choice((-1, 1)) if min(steps[index].tally) > 0 else 1
        which = rng.randrange(len(steps[index].tally))
        for later in range(index, len(steps)):
            tally = list(steps[later].tally)
            tally[which] = max(0, tally[which] + off)
            steps[later] = replace(steps[later], tally=tuple(tally))
        return follow(program, steps, way.reference, way.finding)
    conditions = conditions_of(program, way.reference)
    which = rng.randrange(len(conditions))
    wrong = rng.randrange(len(steps[index].conditions[which]))
    decided = list(steps[index].conditions)
    decided[which] = examine(conditions[which], steps[index].thing, wrong=wrong)
    steps[index] = replace(steps[index], conditions=tuple(decided))
    if ends_at(program, steps[index]):
        del steps[index + 1 :]
    elif program.family in ("exist", "attribute"):
        for thing in things[len(steps) :]:
            steps.append(Step(thing, tuple(examine(terms, thing) for terms in conditions), ()))
            if ends_at(program, steps[-1]):
                break
    return follow(program, count_up(program, steps), way.reference, way.finding)


def muddle_things(rng: random.Random, things: Sequence[Seen], share: float) -> tuple[Seen, ...]:
    """A list of objects in which each word is wrong with probability `share`; some objects are left out or moved."""
    wrong: list[Seen] = []
    taken = {thing.cell for thing in things}
    for thing in things:
        if rng.random() < share / 2 and len(things) > 1:
            continue
        for attribute in VALUES:
            if rng.random() < share:
                thing = replace(thing, **{attribute: _other(rng, attribute, getattr(thing, attribute))})
        if rng.random() < share / 2:
            thing = replace(thing, cell=_near(rng, thing.cell, taken))
            taken.add(thing.cell)
        wrong.append(thing)
    return tuple(sorted(wrong or things[:1], key=lambda thing: CELLS.index(thing.cell)))


def muddle_walk(rng: random.Random, program: Program, way: Walk, share: float) -> Walk:
    """A way on which each object may be looked at wrongly and each number be off, with probability `share` each."""
    conditions = conditions_of(program, way.reference)
    steps: list[Step] = []
    for step in way.steps:
        if rng.random() < share / 4:
            continue
        thing = step.thing
        decided = [
            examine(terms, thing, wrong=rng.randrange(len(terms)) if rng.random() < share else None)
            for terms in conditions
        ]
        for attribute in VALUES:
            if rng.random() < share / 3:
                thing = replace(thing, **{attribute: _other(rng, attribute, getattr(thing, attribute))})
        before = steps[-1].tally if steps else tuple(0 for _ in step.tally)
        (alone,) = count_up(program, [Step(thing, tuple(decided), ())])
        off = [rng.choice((-1, 1, 2)) if rng.random() < share / 2 else 0 for _ in alone.tally]
        tally = tuple(max(0, sum(parts)) for parts in zip(before, alone.tally, off, strict=True))
        steps.append(Step(thing, tuple(decided), tally))
        if ends_at(program, steps[-1]):
            break
    end = follow(program, steps or way.steps[:1], way.reference, way.finding)
    return replace(end, answer=_wrong_answer(rng, program, end.answer)) if rng.random() < share / 2 else end


def _wrong_answer(rng: random.Random, program: Program, answer: str) -> str:
    if answer in ("yes", "no"):
        return "no" if answer == "yes" else "yes"
    if program.attribute is not None:
        return _other(rng, program.attribute, answer)
    return str(
        rng.choice([number for number in range(max(0, int(answer) - 2), int(answer) + 3) if str(number) != answer])
    )


def corrupt_options(rng: random.Random, answer: str, choices: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """A wrong letter for a right answer, and the options as they are read out on the way to it.

    Half of the time the answer is read out under that letter; else another option is taken for it.
    """
    place = rng.choice([place for place, choice in enumerate(choices) if choice != answer])
    read = list(choices)
    if rng.random() < 0.5:
        read[place] = answer
    return "ABCDEFGH"[place], tuple(read)


def corrupt_answer(rng: random.Random, program: Program, answer: str, choices: Sequence[str]) -> str:
    """Another answer of the same kind: a letter for a multiple choice, else a near number, a value, yes or no."""
    if choices:
        return rng.choice([letter for letter in "ABCDEFGH"[: len(choices)] if letter != answer])
    return _wrong_answer(rng, program, answer)


def corrupt_program(rng: random.Random, program: Program) -> Program:
    """A program that misreads the question: another attribute value, a lost attribute, another relation or number."""
    if program.relation is not None and rng.random() < 0.3:
        return replace(program, relation=OPPOSITE[program.relation])
    if program.amount and rng.random() < 0.3:
        return replace(program, amount=program.amount % 4 + 1)
    index = rng.randrange(len(program.groups))
    groups = list(program.groups)
    groups[index] = _alter(rng, groups[index])
    return replace(program, groups=tuple(groups))


def _alter(rng: random.Random, group: Group) -> Group:
    told = attributes_of(group)
    attribute = rng.choice(told or tuple(VALUES))
    value = getattr(group, attribute)
    if value is not None and len(told) > 1 and rng.random() < 0.3:
        return replace(group, **{attribute: None})
    return replace(group, **{attribute: rng.choice([other for other in VALUES[attribute] if other != value])})
