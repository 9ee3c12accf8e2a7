"""A drawn picture is recognised with and without its mark; photographs and charts are not."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from stepsight.world.drawing import MARK, draw_picture
from stepsight.world.recognise import looks_drawn
from stepsight.world.scene import SceneRange, draw_scene

PHOTOGRAPHS = sorted(Path(__file__).parents[3].glob("shared/data/mmbench/samples/**/*.jpg"))


def drawn(seed: int) -> Image.Image:
    return draw_picture(draw_scene(random.Random(seed), SceneRange(3, 12, 0.8)))


def noise(size: tuple[int, int], seed: int) -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(seed).randbytes(size[0] * size[1] * 3))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_a_drawn_picture_is_recognised_without_its_mark(seed: int) -> None:
    assert looks_drawn(drawn(seed))


def test_a_drawn_picture_survives_jpeg_and_another_size() -> None:
    data = io.BytesIO()
    drawn(1).resize((600, 600)).save(data, "JPEG", quality=60)
    assert looks_drawn(Image.open(data))


def test_the_mark_alone_suffices() -> None:
    key, value = MARK
    info = PngImagePlugin.PngInfo()
    info.add_text(key, value)
    data = io.BytesIO()
    noise((64, 64), 0).save(data, "PNG", pnginfo=info)
    assert looks_drawn(Image.open(data))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 20))
def test_coarse_colour_patches_are_not_drawn(seed: int, patches: int) -> None:
    """Patches of colour stand for a photograph: its border has many colours at every scale."""
    assert not looks_drawn(noise((patches, patches), seed).resize((200, 200), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("colour", ["white", "black", "beige", "skyblue", "darkgreen"])
def test_a_plain_ground_of_another_colour_is_not_the_table(colour: str) -> None:
    assert not looks_drawn(Image.new("RGB", (224, 224), colour))


def test_a_grey_ramp_is_not_the_table() -> None:
    assert not looks_drawn(Image.linear_gradient("L"))


def test_a_wide_picture_is_not_drawn() -> None:
    wide = Image.new("RGB", (480, 320), (165, 165, 165))
    assert not looks_drawn(wide)
    assert looks_drawn(wide.crop((0, 0, 320, 320)))


@pytest.mark.skipif(not PHOTOGRAPHS, reason="the photographs of the sample data are not on this machine")
def test_photographs_are_not_drawn() -> None:
    taken_for_drawn = []
    for path in PHOTOGRAPHS:
        with Image.open(path) as picture:
            if looks_drawn(picture) or looks_drawn(picture.resize((224, 224))):
                taken_for_drawn.append(path.name)
    assert taken_for_drawn == []
