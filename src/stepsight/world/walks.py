"""How one walks through a list of objects to answer a program: object by object, condition by condition.

A condition is a row of checks that must all hold, such as `small`, `metal`, `sphere`; it is left at the first that does
not. A walk can be worked out from the truth, from a caption that a model wrote, or from steps that were made wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stepsight.world.programs import Program, Relation, Seen, attributes_of, compares, line_of, related
from stepsight.world.scene import Attribute


@dataclass(frozen=True)
class Check:
    """One word held against one object, such as `red`, or `B left of C` (its column is B)."""

    word: str
    holds: bool


@dataclass(frozen=True)
class Step:
    """One object looked at: each condition's checks up to the first that fails, and the running numbers after it."""

    thing: Seen
    conditions: tuple[tuple[Check, ...], ...]
    tally: tuple[int, ...]

    @property
    def verdicts(self) -> tuple[bool, ...]:
        """Whether each condition holds."""
        return tuple(all(check.holds for check in checks) for checks in self.conditions)


@dataclass(frozen=True)
class Walk:
    """The whole way to an answer.

    `numbers` are the final numbers. `reference` is where a spatial question looks from, `finding` the steps to it.
    """

    steps: tuple[Step, ...]
    numbers: tuple[int, ...]
    answer: str
    reference: Seen | None = None
    finding: tuple[Step, ...] = ()


class Unanswerable(ValueError):
    """The objects do not allow an answer: what should be unique is missing or there more than once."""


@dataclass(frozen=True)
class Term:
    """What a check asks: an attribute's value, a place seen from a reference, or (neither) being an object at all."""

    word: str
    attribute: Attribute | None = None
    relation: Relation | None = None
    reference: str = ""

    def said_of(self, thing: Seen) -> str:
        """What is held against an object, in words. A place is said as the two columns, or rows, to be compared."""
        if self.relation is None:
            return self.word
        return f"{line_of(thing.cell, self.relation)} {self.word} {line_of(self.reference, self.relation)}"

    def holds(self, thing: Seen) -> bool:
        """Whether it is true of an object."""
        if self.relation is not None:
            return related(thing.cell, self.relation, self.reference)
        return self.attribute is None or getattr(thing, self.attribute) == self.word


def conditions_of(program: Program, reference: Seen | None) -> tuple[tuple[Term, ...], ...]:
    """The conditions that every object is held against: one for each group; place and group are one for `spatial`."""
    groups = program.groups[:1] if program.family == "spatial" else program.groups
    conditions = []
    for group in groups:
        terms = tuple(Term(str(getattr(group, attribute)), attribute) for attribute in attributes_of(group))
        conditions.append(terms or (Term("object"),))
    if program.family == "spatial":
        assert program.relation is not None
        assert reference is not None
        place = Term(program.relation, relation=program.relation, reference=reference.cell)
        conditions[0] = (place, *conditions[0])
    return tuple(conditions)


def examine(terms: Sequence[Term], thing: Seen, *, wrong: int | None = None) -> tuple[Check, ...]:
    """Hold an object against a condition, up to the first check that fails; check number `wrong` comes out wrongly."""
    checks: list[Check] = []
    for number, term in enumerate(terms):
        checks.append(Check(term.said_of(thing), term.holds(thing) != (number == wrong)))
        if not checks[-1].holds:
            break
    return tuple(checks)


def walk(program: Program, things: Sequence[Seen]) -> Walk:
    """Answer a program from a list of objects, object by object.

    Raises:
        Unanswerable: an object that the question takes to be unique is not.
    """
    reference = find_reference(program, things)
    conditions = conditions_of(program, reference)
    steps: list[Step] = []
    for thing in things:
        steps.append(Step(thing, tuple(examine(terms, thing) for terms in conditions), ()))
        if ends_at(program, steps[-1]):
            break
    return follow(program, count_up(program, steps), reference, find(program, things))


def ends_at(program: Program, step: Step) -> bool:
    """Whether nothing more needs to be looked at: `exist` and `attribute` stop at the first object found."""
    return program.family in ("exist", "attribute") and step.verdicts[0]


def count_up(program: Program, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The same checks with the running numbers that follow from them; `exist` and `attribute` keep none."""
    if program.family in ("exist", "attribute"):
        return tuple(steps)
    numbers: tuple[int, ...] = (0, 0) if program.family == "compare" else (0,)
    counted = []
    for step in steps:
        numbers = tuple(number + more for number, more in zip(numbers, _increments(program, step), strict=True))
        counted.append(replace(step, tally=numbers))
    return tuple(counted)


def find(program: Program, things: Sequence[Seen]) -> tuple[Step, ...]:
    """The steps by which a spatial question finds the object that it looks from; none for other families."""
    if program.family != "spatial":
        return ()
    return walk(Program("exist", program.groups[-1:]), things).steps


def follow(program: Program, steps: Sequence[Step], reference: Seen | None, finding: tuple[Step, ...] = ()) -> Walk:
    """The end to which steps lead, right or wrong."""
    numbers = steps[-1].tally if steps and steps[-1].tally else ((0, 0) if program.family == "compare" else (0,))
    return Walk(tuple(steps), numbers, _answer(program, steps, numbers), reference, finding)


def find_reference(program: Program, things: Sequence[Seen]) -> Seen | None:
    """The one object that `attribute` and `spatial` speak of; None for other families.

    Raises:
        Unanswerable: there is none, or more than one.
    """
    if program.family not in ("attribute", "spatial"):
        return None
    found = [thing for thing in things if program.groups[-1].has(thing)]
    if len(found) != 1:
        raise Unanswerable(f"{len(found)} objects are a {program.groups[-1].one}, not one")
    return found[0]


def _increments(program: Program, step: Step) -> tuple[bool, ...]:
    if program.family in ("subtract-one", "subtract-two"):
        return (not any(step.verdicts),)
    return step.verdicts


def _answer(program: Program, steps: Sequence[Step], numbers: Sequence[int]) -> str:
    if program.family == "exist":
        return "yes" if steps and steps[-1].verdicts[0] else "no"
    if program.family == "compare":
        assert program.comparison is not None
        return "yes" if compares(numbers[0], program.comparison, numbers[1]) else "no"
    if program.family == "attribute":
        assert program.attribute is not None
        return str(getattr(steps[-1].thing, program.attribute))
    return str(numbers[0] + program.amount)
