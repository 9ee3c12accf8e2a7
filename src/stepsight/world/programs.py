"""Questions as programs: what is asked, exactly, and how one walks through a list of objects to answer it.

A program runs on objects as they are described (`Seen`), not on the drawing, so that the same code answers from the
scene's truth, from a caption that a model wrote, and from a corrupted list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from stepsight.world.scene import COLUMNS, VALUES, Attribute, Scene

Family = Literal["count", "exist", "compare", "attribute", "spatial", "subtract-one", "subtract-two", "add"]
Relation = Literal["left of", "right of", "behind", "in front of"]
Comparison = Literal["more than", "fewer than", "equal to"]


@dataclass(frozen=True)
class Seen:
    """An object as a caption describes it."""

    cell: str
    size: str
    color: str
    material: str
    shape: str

    @property
    def words(self) -> str:
        """Cell and description, such as `B5 small red metal cube`."""
        return f"{self.cell} {self.size} {self.color} {self.material} {self.shape}"


def seen(scene: Scene) -> tuple[Seen, ...]:
    """The things of a scene as a true caption describes them, in reading order."""
    return tuple(Seen(thing.cell, thing.size, thing.color, thing.material, thing.shape) for thing in scene.things)


@dataclass(frozen=True)
class Group:
    """All objects that have the given attributes; without any, all objects."""

    size: str | None = None
    color: str | None = None
    material: str | None = None
    shape: str | None = None

    def has(self, thing: Seen) -> bool:
        """Whether an object belongs to the group."""
        return (
            self.size in (None, thing.size)
            and self.color in (None, thing.color)
            and self.material in (None, thing.material)
            and self.shape in (None, thing.shape)
        )

    @property
    def one(self) -> str:
        """The group's canonical name in the singular, such as `small metal sphere`."""
        return " ".join(value for value in (self.size, self.color, self.material, self.shape or "object") if value)

    @property
    def many(self) -> str:
        """The group's canonical name in the plural."""
        return self.one + "s"


@dataclass(frozen=True)
class Program:
    """What a question asks. For `spatial`, the first group is what is counted and the second the reference object."""

    family: Family
    groups: tuple[Group, ...]
    attribute: Attribute | None = None
    relation: Relation | None = None
    comparison: Comparison | None = None
    amount: int = 0

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Program:
        """The inverse of `to_dict`."""
        return cls(**{**data, "groups": tuple(Group(**group) for group in data["groups"])})


@dataclass(frozen=True)
class Step:
    """One object looked at: what was decided about it, and the running numbers after it."""

    thing: Seen
    verdicts: tuple[bool, ...]
    tally: tuple[int, ...]


@dataclass(frozen=True)
class Walk:
    """The whole way to an answer.

    `numbers` are the final numbers; `reference` is where a spatial question looks from.
    """

    steps: tuple[Step, ...]
    numbers: tuple[int, ...]
    answer: str
    reference: Seen | None = None


class Unanswerable(ValueError):
    """The objects do not allow an answer: what should be unique is missing or there more than once."""


def walk(program: Program, things: Sequence[Seen]) -> Walk:
    """Answer a program from a list of objects, object by object.

    Raises:
        Unanswerable: an object that the question takes to be unique is not.
    """
    reference = _reference(program, things)
    steps: list[Step] = []
    for thing in things:
        steps.append(Step(thing, _verdicts(program, thing, reference), ()))
        if program.family in ("exist", "attribute") and steps[-1].verdicts[0]:
            break
    return follow(program, count_up(program, steps), reference)


def count_up(program: Program, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The same verdicts with the running numbers that follow from them; `exist` and `attribute` keep none."""
    if program.family in ("exist", "attribute"):
        return tuple(steps)
    numbers: tuple[int, ...] = (0, 0) if program.family == "compare" else (0,)
    counted = []
    for step in steps:
        numbers = tuple(number + more for number, more in zip(numbers, _increments(program, step), strict=True))
        counted.append(replace(step, tally=numbers))
    return tuple(counted)


def follow(program: Program, steps: Sequence[Step], reference: Seen | None) -> Walk:
    """The end to which steps lead, right or wrong."""
    numbers = steps[-1].tally if steps and steps[-1].tally else ((0, 0) if program.family == "compare" else (0,))
    return Walk(tuple(steps), numbers, _answer(program, steps, numbers), reference)


def _reference(program: Program, things: Sequence[Seen]) -> Seen | None:
    if program.family not in ("attribute", "spatial"):
        return None
    found = [thing for thing in things if program.groups[-1].has(thing)]
    if len(found) != 1:
        raise Unanswerable(f"{len(found)} objects are a {program.groups[-1].one}, not one")
    return found[0]


def _verdicts(program: Program, thing: Seen, reference: Seen | None) -> tuple[bool, ...]:
    if program.family == "spatial":
        assert reference is not None
        assert program.relation is not None
        return related(thing.cell, program.relation, reference.cell), program.groups[0].has(thing)
    return tuple(group.has(thing) for group in program.groups)


def _increments(program: Program, step: Step) -> tuple[bool, ...]:
    if program.family == "compare":
        return step.verdicts
    if program.family in ("subtract-one", "subtract-two"):
        return (not any(step.verdicts),)
    return (all(step.verdicts),)


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


def compares(first: int, comparison: Comparison, second: int) -> bool:
    """Whether `first` is more than, fewer than or equal to `second`."""
    return {"more than": first > second, "fewer than": first < second, "equal to": first == second}[comparison]


def related(cell: str, relation: Relation, reference: str) -> bool:
    """Whether a cell lies in the named direction of another; the same column or row does not count."""
    column, row = COLUMNS.index(cell[0]), int(cell[1])
    other_column, other_row = COLUMNS.index(reference[0]), int(reference[1])
    return {
        "left of": column < other_column,
        "right of": column > other_column,
        "behind": row < other_row,
        "in front of": row > other_row,
    }[relation]


def attributes_of(group: Group) -> tuple[Attribute, ...]:
    """The attributes that a group fixes."""
    return tuple(attribute for attribute in VALUES if getattr(group, attribute) is not None)
