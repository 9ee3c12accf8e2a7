"""Scenes of the drawn world `tabletop`: things on a grey table, seen from above at an angle, in the manner of CLEVR.

A scene is exact: where each thing stands and what it is. The table is divided into a grid of 7 x 7 cells, columns A to
G from left to right and rows 1 to 7 from back to front; a thing's cell is the one its middle lies in, and no two things
share one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Size = Literal["large", "small"]
Color = Literal["gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow"]
Material = Literal["rubber", "metal"]
Shape = Literal["cube", "sphere", "cylinder"]
Attribute = Literal["size", "color", "material", "shape"]

SIZES: tuple[Size, ...] = get_args(Size)
COLORS: tuple[Color, ...] = get_args(Color)
MATERIALS: tuple[Material, ...] = get_args(Material)
SHAPES: tuple[Shape, ...] = get_args(Shape)
VALUES: dict[Attribute, tuple[str, ...]] = {"size": SIZES, "color": COLORS, "material": MATERIALS, "shape": SHAPES}
"""Every attribute with its values, in the order in which a thing is described."""

GRID = 7
COLUMNS = "ABCDEFG"
RADIUS: dict[Size, float] = {"large": 0.118, "small": 0.068}
"""Radius of a thing's outline as a share of the picture's width."""
TURNS = 6
"""Number of orientations of a cube, evenly spaced over a quarter turn."""
CELL_MARGIN = 0.14
"""A thing's middle keeps this share of a cell away from the cell's border, so that its cell is never in doubt."""


@dataclass(frozen=True)
class Thing:
    """One object. `x` and `y` are shares of the picture's width and height, from its upper left corner."""

    x: float
    y: float
    size: Size
    color: Color
    material: Material
    shape: Shape
    turn: int = 0

    @property
    def column(self) -> int:
        """0 (left) to 6 (right)."""
        return int(self.x * GRID)

    @property
    def row(self) -> int:
        """0 (back) to 6 (front)."""
        return int(self.y * GRID)

    @property
    def cell(self) -> str:
        """The grid cell, such as `B5`."""
        return cell_name(self.column, self.row)

    @property
    def words(self) -> str:
        """The description used in captions: size, color, material, shape."""
        return f"{self.size} {self.color} {self.material} {self.shape}"

    def get(self, attribute: Attribute) -> str:
        """The value of an attribute."""
        return str(getattr(self, attribute))


@dataclass(frozen=True)
class Scene:
    """Things in reading order (row by row from the back, left to right) and the light they stand in (0.9 to 1.1)."""

    things: tuple[Thing, ...]
    light: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary, for JSON."""
        return {"things": [asdict(thing) | {"cell": thing.cell} for thing in self.things], "light": self.light}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scene:
        """The inverse of `to_dict`."""
        things = (Thing(**{key: value for key, value in row.items() if key != "cell"}) for row in data["things"])
        return cls(tuple(things), data.get("light", 1.0))


@dataclass(frozen=True)
class SceneRange:
    """What scenes of a split may look like.

    `closeness` is the least distance between two middles as a share of the sum of their radii: below about 0.9 things
    begin to hide one another.
    """

    fewest: int
    most: int
    closeness: float


def cell_name(column: int, row: int) -> str:
    """The name of a grid cell, such as `B5`."""
    return f"{COLUMNS[column]}{row + 1}"


CELLS: tuple[str, ...] = tuple(cell_name(column, row) for row in range(GRID) for column in range(GRID))
"""All cell names in reading order."""


def draw_scene(rng: random.Random, within: SceneRange) -> Scene:
    """Draw a scene at random.

    Attributes are drawn from a few favourites of the scene about half of the time, so that groups of alike things,
    which make questions worth asking, are common.
    """
    count = rng.randint(within.fewest, within.most)
    while True:
        things = _place(rng, count, within.closeness)
        if things is not None:
            things.sort(key=lambda thing: (thing.row, thing.column))
            return Scene(tuple(things), round(rng.uniform(0.9, 1.1), 3))


def _place(rng: random.Random, count: int, closeness: float) -> list[Thing] | None:
    favourites = {attribute: rng.choice(values) for attribute, values in VALUES.items()}

    def pick(attribute: Attribute) -> Any:
        return favourites[attribute] if rng.random() < 0.25 else rng.choice(VALUES[attribute])

    things: list[Thing] = []
    for _ in range(count * 40):
        if len(things) == count:
            return things
        size: Size = pick("size")
        x, y = (_coordinate(rng, RADIUS[size]) for _ in range(2))
        thing = Thing(x, y, size, pick("color"), pick("material"), pick("shape"), rng.randrange(TURNS))
        if all(_apart(thing, other, closeness) for other in things):
            things.append(thing)
    return things if len(things) == count else None


def _coordinate(rng: random.Random, radius: float) -> float:
    """A coordinate inside the picture that keeps clear of the borders of cells."""
    while True:
        value = rng.uniform(radius * 0.85, 1 - radius * 0.85)
        if CELL_MARGIN <= (value * GRID) % 1.0 <= 1 - CELL_MARGIN:
            return round(value, 4)


def _apart(one: Thing, other: Thing, closeness: float) -> bool:
    distance = float(((one.x - other.x) ** 2 + (one.y - other.y) ** 2) ** 0.5)
    return one.cell != other.cell and distance >= closeness * (RADIUS[one.size] + RADIUS[other.size])
