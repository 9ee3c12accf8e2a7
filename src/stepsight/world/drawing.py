"""Pictures of scenes, drawn with Pillow at twice their size and reduced.

Each look (shape, size, color, material, orientation) is shaded once, at four times the picture's size, and kept as a
small transparent picture; a scene is then the table, all soft shadows, and the things from back to front.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from stepsight.world.scene import RADIUS, TURNS, Color, Scene, Thing

SIDE = 224
"""Width and height of a drawn picture in pixels."""
OVERSAMPLE = 2
CANVAS = SIDE * OVERSAMPLE
MARK = ("stepsight-world", "tabletop")
"""The PNG text chunk by which a drawn picture says where it comes from."""

RGB: dict[Color, tuple[int, int, int]] = {
    "gray": (105, 105, 108),
    "red": (190, 38, 40),
    "blue": (44, 78, 210),
    "green": (32, 125, 30),
    "brown": (130, 76, 28),
    "purple": (140, 40, 190),
    "cyan": (42, 205, 208),
    "yellow": (250, 232, 52),
}

LIGHT = np.array([-0.48, -0.62, 0.62])
"""Towards the lamp: left, up (the picture's y points down), towards the viewer."""
TILT = math.radians(38)
"""How far the camera looks down."""

Floats = npt.NDArray[np.float64]


def draw_picture(scene: Scene) -> Image.Image:
    """Draw a scene as an RGB picture of `SIDE` x `SIDE` pixels."""
    canvas = _table().copy()
    nearest_last = sorted(scene.things, key=lambda thing: thing.y)
    for thing in nearest_last:
        radius = RADIUS[thing.size] * CANVAS
        _paste(canvas, _shadow(round(radius)), thing, (0.16 * radius, 0.46 * radius))
    for thing in nearest_last:
        turn = thing.turn if thing.shape == "cube" else 0
        look = _look(thing.shape, round(RADIUS[thing.size] * CANVAS), thing.color, thing.material, turn)
        _paste(canvas, look, thing, (0.0, 0.0))
    picture = canvas.reduce(OVERSAMPLE)
    return picture.point([min(255, round(value * scene.light)) for value in range(256)] * 3)


def _paste(canvas: Image.Image, look: Image.Image, thing: Thing, offset: tuple[float, float]) -> None:
    left = round(thing.x * CANVAS + offset[0] - look.width / 2)
    top = round(thing.y * CANVAS + offset[1] - look.height / 2)
    canvas.paste(look, (left, top), look)


@lru_cache(maxsize=1)
def _table() -> Image.Image:
    """The empty table: grey, lighter in the middle, a little grain."""
    y, x = np.mgrid[0:CANVAS, 0:CANVAS] / CANVAS
    shade = 172 + 22 * y - 46 * ((x - 0.5) ** 2 + (y - 0.45) ** 2)
    shade += np.random.default_rng(0).normal(0, 2.0, shade.shape)
    return Image.fromarray(np.repeat(shade.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2))


@lru_cache(maxsize=8)
def _shadow(radius: int) -> Image.Image:
    side = radius * 4
    mask = Image.new("L", (side, side), 0)
    middle = side / 2
    box = (middle - 1.0 * radius, middle - 0.55 * radius, middle + 1.0 * radius, middle + 0.55 * radius)
    ImageDraw.Draw(mask).ellipse(box, fill=120)
    mask = mask.filter(ImageFilter.GaussianBlur(radius * 0.22))
    shadow = Image.new("RGBA", (side, side), (18, 18, 22, 0))
    shadow.putalpha(mask)
    return shadow


@lru_cache(maxsize=512)
def _look(shape: str, radius: int, color: Color, material: str, turn: int) -> Image.Image:
    """One thing on a transparent ground, shaded at twice the canvas's size and reduced."""
    big = radius * 2
    side = int(big * 2.3) // 4 * 4
    y, x = np.mgrid[0:side, 0:side].astype(np.float64)
    x, y = (x - side / 2) / big, (y - side / 2) / big
    shader = {"sphere": _sphere, "cylinder": _cylinder, "cube": _cube}[shape]
    normal, mask = shader(x, y, turn)
    rgb = _shade(normal, np.array(RGB[color], dtype=np.float64), material)
    rgba = np.dstack([rgb, mask * 255]).clip(0, 255).astype(np.uint8)
    return Image.fromarray(rgba).reduce(2)


def _shade(normal: Floats, base: Floats, material: str) -> Floats:
    """Color of each pixel from its surface normal: matte rubber, or metal with a hot spot and a mirrored horizon."""
    light = LIGHT / np.linalg.norm(LIGHT)
    diffuse = (normal @ light).clip(0, 1)[..., None]
    if material == "rubber":
        matte: Floats = base * (0.42 + 0.62 * diffuse)
        return matte
    half = light + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    gloss = (normal @ half).clip(0, 1)[..., None]
    up = -normal[..., 1:2]
    horizon = 0.30 * np.exp(-(((up - 0.05) / 0.16) ** 2))
    body = base * (0.30 + 0.62 * diffuse + 0.25 * up.clip(0, 1) - horizon)
    shaded: Floats = body + 240 * gloss**24 + 45 * gloss**5
    return shaded


def _sphere(x: Floats, y: Floats, turn: int) -> tuple[Floats, Floats]:
    square = x**2 + y**2
    z = np.sqrt((1 - square).clip(0, None))
    return np.dstack([x, y, z]), (square <= 1).astype(np.float64)


def _cylinder(x: Floats, y: Floats, turn: int) -> tuple[Floats, Floats]:
    """An upright cylinder: the lid is an ellipse, the side is curved from left to right."""
    half_width, half_height = 0.80, 0.62
    squash = math.sin(TILT) * half_width
    arc = squash * np.sqrt((1 - (x / half_width) ** 2).clip(0, None))
    inside = np.abs(x) <= half_width
    lid = inside & (np.abs(y + half_height) <= arc)
    side = inside & (y >= -half_height) & (y <= half_height + arc - squash * 0.35) & ~lid
    across = (x / half_width).clip(-1, 1)
    wall = _unit(np.dstack([across, -0.35 + 0.5 * y, np.sqrt(1 - across**2)]))
    top = _unit(np.dstack([x, -0.62 + 0.9 * (y + half_height), np.full_like(x, 0.8)]))
    return np.where(lid[..., None], top, wall), (lid | side).astype(np.float64)


def _cube(x: Floats, y: Floats, turn: int) -> tuple[Floats, Floats]:
    """A cube turned about its upright axis: the lid and the sides that face the viewer."""
    half = 0.66
    angle = math.radians(90 / TURNS * (turn + 0.5))
    normal = np.zeros((*x.shape, 3))
    normal[..., 2] = 1.0
    mask = np.zeros_like(x)

    def project(u: float, v: float, w: float) -> tuple[float, float]:
        right, near = u * math.cos(angle) - v * math.sin(angle), u * math.sin(angle) + v * math.cos(angle)
        return right, near * math.sin(TILT) - w * math.cos(TILT)

    square = [(-half, -half), (half, -half), (half, half), (-half, half)]
    faces: list[tuple[list[tuple[float, float]], tuple[float, float, float]]] = []
    for index, (u, v) in enumerate(square):
        u2, v2 = square[(index + 1) % 4]
        out_u, out_v = (u + u2) / 2 / half, (v + v2) / 2 / half
        right, near = (
            out_u * math.cos(angle) - out_v * math.sin(angle),
            out_u * math.sin(angle) + out_v * math.cos(angle),
        )
        if near > 0:
            corners = [project(u, v, -half), project(u2, v2, -half), project(u2, v2, half), project(u, v, half)]
            faces.append((corners, (right, near * math.sin(TILT) * 0.4, near * math.cos(TILT))))
    faces.append(([project(u, v, half) for u, v in square], (0.0, -math.cos(TILT), math.sin(TILT))))
    for corners, direction in faces:
        face = _polygon(x, y, corners)
        # Faces bulge a little, so that metal shows a highlight and a dark band on them.
        middle_x, middle_y = (sum(corner[axis] for corner in corners) / 4 for axis in (0, 1))
        bulge = np.dstack([(x - middle_x) * 0.9, (y - middle_y) * 1.3, np.zeros_like(x)])
        tilted = _unit(np.array(direction) + bulge)
        normal = np.where(face[..., None] > 0, tilted, normal)
        mask = np.maximum(mask, face)
    return normal, mask


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    return unit


def _polygon(x: Floats, y: Floats, corners: list[tuple[float, float]]) -> Floats:
    scale = 1 / float(x[0, 1] - x[0, 0])
    left, top = float(x[0, 0]), float(y[0, 0])
    image = Image.new("L", (x.shape[1], x.shape[0]), 0)
    points: Any = [((u - left) * scale, (v - top) * scale) for u, v in corners]
    ImageDraw.Draw(image).polygon(points, fill=255)
    return np.asarray(image, dtype=np.float64) / 255
