"""The picture shows the scene: each thing in its place and color, the table grey around it."""

from __future__ import annotations

import colorsys
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stepsight.world.drawing import MARK, RGB, SIDE, draw_picture
from stepsight.world.scene import COLORS, MATERIALS, SHAPES, SIZES, Color, Material, Scene, Shape, Size, Thing
from stepsight.world.split import draw_split, save_picture


def hue(rgb: tuple[float, ...]) -> tuple[float, float]:
    """Hue (0 to 1) and saturation."""
    hue, saturation, _ = colorsys.rgb_to_hsv(*(value / 255 for value in rgb[:3]))
    return hue, saturation


def around(picture: Image.Image, x: float, y: float, radius: int = 4) -> tuple[float, ...]:
    """The median color near a place given as shares of the sides."""
    column, row = round(x * SIDE), round(y * SIDE)
    patch = np.asarray(picture)[row - radius : row + radius + 1, column - radius : column + radius + 1]
    return tuple(np.median(patch.reshape(-1, 3), axis=0).tolist())


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("material", MATERIALS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_a_thing_has_its_hue_in_its_middle(color: Color, material: Material, shape: Shape, size: Size) -> None:
    picture = draw_picture(Scene((Thing(0.5, 0.5, size, color, material, shape),)))
    assert picture.size == (SIDE, SIDE)
    assert picture.mode == "RGB"
    # A highlight may lie on the very middle of metal, so look a little below it.
    seen_hue, seen_saturation = hue(around(picture, 0.5, 0.52, radius=3))
    true_hue, true_saturation = hue(RGB[color])
    if color == "gray":
        assert seen_saturation < 0.12
    else:
        assert seen_saturation > 0.2 * true_saturation
        apart = abs(seen_hue - true_hue)
        assert min(apart, 1 - apart) < 0.05
    far = around(picture, 0.1, 0.1)
    assert max(far) - min(far) <= 2, "the table is grey"


def test_large_things_cover_more_of_the_table() -> None:
    table = np.asarray(draw_picture(Scene(())), dtype=float)

    def covered(size: Size, shape: Shape) -> int:
        picture = draw_picture(Scene((Thing(0.5, 0.5, size, "blue", "rubber", shape),)))
        return int((np.abs(np.asarray(picture, dtype=float) - table).max(axis=2) > 30).sum())

    for shape in SHAPES:
        assert covered("large", shape) > 1.8 * covered("small", shape)


def test_the_nearer_thing_hides_the_farther() -> None:
    back = Thing(0.5, 0.46, "large", "red", "rubber", "sphere")
    front = Thing(0.5, 0.54, "large", "green", "rubber", "sphere")
    picture = draw_picture(Scene((back, front)))
    red, green, _ = around(picture, 0.5, 0.5)
    assert green > red


def test_light_makes_the_picture_brighter() -> None:
    things = (Thing(0.5, 0.5, "large", "red", "rubber", "cube"),)
    dim, bright = (np.asarray(draw_picture(Scene(things, light))).mean() for light in (0.9, 1.1))
    assert bright > dim * 1.1


def test_a_saved_picture_is_the_drawn_one_and_says_where_it_comes_from(tmp_path: Path) -> None:
    (drawn,) = draw_split("test", seed=0, count=1)
    path = tmp_path / "new" / "a.png"
    save_picture(drawn.picture, path)
    with Image.open(path) as saved:
        assert isinstance(saved, Image.Image)
        assert saved.format == "PNG"
        assert saved.info[MARK[0]] == MARK[1]
        assert np.array_equal(np.asarray(saved), np.asarray(drawn.picture))
    assert [path.name for path in path.parent.iterdir()] == ["a.png"]


def test_drawing_twice_gives_the_same_bytes() -> None:
    scene = next(draw_split("hard", seed=1, count=1))
    again = next(draw_split("hard", seed=1, count=1))
    one, other = io.BytesIO(), io.BytesIO()
    scene.picture.save(one, format="PNG")
    again.picture.save(other, format="PNG")
    assert one.getvalue() == other.getvalue()
