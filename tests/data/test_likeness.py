"""The same picture is found again scaled, recompressed and cropped a little; others are not taken for it."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from stepsight.data import likeness
from stepsight.data.likeness import DISTANCE, Fingerprint, Lookalikes, fingerprint, groups_of, members
from stepsight.world.drawing import draw_picture
from stepsight.world.split import pose


def photo(seed: int) -> Image.Image:
    """Something with the soft shapes of a photograph."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)


def chart(seed: int) -> Image.Image:
    """Bars on white ground."""
    rng = random.Random(seed)
    image = Image.new("RGB", (400, 300), "white")
    draw = ImageDraw.Draw(image)
    for place in range(8):
        draw.rectangle((20 + 46 * place, rng.randint(20, 260), 50 + 46 * place, 280), fill=rng.choice(["navy", "red"]))
    return image


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def cropped(picture: Image.Image, share: float) -> Image.Image:
    x, y = round(picture.width * share), round(picture.height * share)
    return picture.crop((x, y, picture.width - x, picture.height - y))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half": lambda picture: picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS),
    "double": lambda picture: picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.BICUBIC),
    "square": lambda picture: picture.resize((336, 336), Image.Resampling.BILINEAR),
    "jpeg": lambda picture: jpeg(picture, 30),
    "bright": lambda picture: ImageEnhance.Brightness(picture).enhance(1.15),
    "crop": lambda picture: cropped(picture, 0.015),
}


def prints(*pictures: Image.Image) -> list[Fingerprint]:
    return [one for picture in pictures if (one := fingerprint(picture)) is not None]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", [photo, chart])
def test_a_changed_picture_is_found_and_no_other(change: str, kind: Callable[[int], Image.Image]) -> None:
    pictures = [kind(seed) for seed in range(12)]
    index = Lookalikes(prints(*pictures))
    for place in range(3):
        (changed,) = prints(CHANGES[change](pictures[place]))
        assert list(index.like([changed])) == [(place, 0)]


def test_scenes_of_the_world_are_told_apart() -> None:
    scenes = [draw_picture(pose("test", seed=3, index=index).scene) for index in range(8)]
    index = Lookalikes(prints(*scenes))
    assert list(index.pairs()) == []
    for place in range(2):
        assert list(index.like(prints(jpeg(scenes[place], 60)))) == [(place, 0)]


def test_a_picture_of_one_colour_is_like_nothing() -> None:
    assert fingerprint(Image.new("RGB", (50, 50), "white")) is None


def test_tiles_miss_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    small = np.zeros(256, dtype=np.float16)
    small[0] = 1
    centres = rng.integers(0, 1 << 63, 20, dtype=np.uint64)
    bits = []
    for centre in centres.tolist():
        for flips in range(DISTANCE + 3):
            flipped = sum(1 << int(place) for place in rng.choice(64, flips, replace=False))
            bits.append(centre ^ flipped)
    every = [Fingerprint(one, small.tobytes()) for one in dict.fromkeys(bits)]
    monkeypatch.setattr(likeness, "_TILE", 7)
    index = Lookalikes(every)
    expected = [
        (one, other)
        for one in range(len(every))
        for other in range(one + 1, len(every))
        if (every[one].bits ^ every[other].bits).bit_count() <= DISTANCE
    ]
    assert len(expected) > 500
    assert sorted(index.pairs()) == expected
    across = list(index.like(every[5:9]))
    assert sorted((one, other) for one, other in across if one != other + 5) == sorted(
        {pair for one, other in expected for pair in ((one, other - 5), (other, one - 5)) if 0 <= pair[1] < 4}
    )


def test_equal_pictures_make_one_group_without_all_their_pairs() -> None:
    one, other = prints(photo(1), photo(2))
    index = Lookalikes([one] * 50 + [other] + [one] * 50)
    pairs = list(index.pairs())
    assert len(pairs) == 99
    groups = groups_of(101, iter(pairs))
    assert members(groups) == [[*range(50), *range(51, 101)]]
    assert groups[50] == 50
    assert list(Lookalikes([]).like([one])) == []
