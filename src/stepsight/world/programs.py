"""Questions as programs: what is asked, exactly.

A program runs on objects as they are described (`Seen`), not on the drawing, so that the same code answers from the
scene's truth, from a caption that a model wrote, and from a corrupted list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
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


def line_of(cell: str, relation: Relation) -> str:
    """What a relation compares of a cell: its column's letter, or its row's number."""
    return cell[0] if relation in ("left of", "right of") else cell[1]


def attributes_of(group: Group) -> tuple[Attribute, ...]:
    """The attributes that a group fixes."""
    return tuple(attribute for attribute in VALUES if getattr(group, attribute) is not None)
