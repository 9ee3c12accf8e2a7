"""Pictures are checked before decoding, come out RGB and upright, and fail only in our own words."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stepsight.errors import PictureError
from stepsight.pictures import check_picture, load_picture, picture_hash

FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF", "ppm": "PPM"}


def scene(width: int = 6, height: int = 4) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    return image


def encoded(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A tiny file whose header promises a picture of any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_comes_out_rgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scene.{suffix}"
    scene(64, 32).save(path, FORMATS[suffix])
    image = load_picture(path)
    assert (image.mode, image.size) == ("RGB", (64, 32))
    assert check_picture(path) == (64, 32)
    left, right = np.asarray(image)[16, 8], np.asarray(image)[16, 56]
    assert left[0] > 200 > 60 > left[2]
    assert right[2] > 200 > 60 > right[0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_s_orientation_is_undone(tmp_path: Path, orientation: int) -> None:
    upright = scene()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.png"
    stored.save(path, exif=exif)
    assert picture_hash(load_picture(path)) == picture_hash(upright)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_become_white(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "ink.png"
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    if mode == "P":
        indexed = Image.new("P", (2, 1))
        indexed.putpalette([10, 10, 10, 0, 0, 0])
        indexed.putpixel((1, 0), 1)
        indexed.save(path, transparency=b"\x00\xff")
    else:
        image.convert(mode).save(path)
    loaded = load_picture(path)
    assert [loaded.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 0)]


def test_sixteen_bit_grey_is_scaled_not_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "depth.png"
    Image.fromarray(np.array([[0, 0x4000, 0x8000, 0xFFFF]], dtype=np.uint16)).save(path)
    loaded = load_picture(path)
    assert [loaded.getpixel((x, 0)) for x in range(4)] == [(v, v, v) for v in (0, 64, 128, 255)]


def test_the_picture_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    scene().save(path)
    image = load_picture(path)
    path.unlink()
    assert image.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no file"),
        (b"", "is empty"),
        (b"just words", "is not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),
        (png_claiming(20_000, 20_000), "far too many pixels"),
        (png_claiming(8_000, 8_001), "8000 x 8001 pixels; at most 64 million"),
        (png_claiming(10_000, 10_000), "10000 x 10000 pixels; at most 64 million"),
    ],
)
@pytest.mark.parametrize("read", [check_picture, load_picture])
def test_what_cannot_be_used_is_refused_from_the_header(
    tmp_path: Path, content: bytes | None, reason: str, read: object
) -> None:
    path = tmp_path / "picture.png"
    if content is not None:
        path.write_bytes(content)
    assert callable(read)
    with pytest.raises(PictureError, match=reason) as caught:
        read(path)
    assert caught.value.hint
    assert str(path) in str(caught.value)


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="is a folder"):
        load_picture(tmp_path)


def test_the_limit_is_the_number_of_pixels(tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    scene(6, 4).save(path)
    assert load_picture(path, max_pixels=24).size == (6, 4)
    with pytest.raises(PictureError, match="6 x 4"):
        check_picture(path, max_pixels=23)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_a_picture_that_is_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, FORMATS[suffix])
    path = tmp_path / f"noise.{suffix}"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(PictureError, match=r"damaged|cut short|not a picture|cannot be read"):
        load_picture(path)


ORIGINALS = [encoded(scene(16, 16), kind) for kind in FORMATS.values()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(ORIGINALS), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6))
@pytest.mark.filterwarnings("ignore")  # Pillow may warn about broken metadata; only errors matter here
def test_broken_bytes_load_or_fail_in_our_words(tmp_path: Path, data: bytes, changes: list[tuple[int, int]]) -> None:
    broken = bytearray(data)
    for place, value in changes:
        broken[place % len(broken)] = value
    path = tmp_path / "broken"
    path.write_bytes(broken)
    try:
        image = load_picture(path, max_pixels=100_000)
    except PictureError:
        return
    assert image.mode == "RGB"


def test_the_hash_is_of_what_is_seen(tmp_path: Path) -> None:
    scene().save(tmp_path / "a.png")
    scene().save(tmp_path / "b.bmp")
    hashes = {picture_hash(load_picture(tmp_path / name)) for name in ("a.png", "b.bmp")}
    assert hashes == {picture_hash(scene())}
    other = scene()
    other.putpixel((0, 0), (254, 0, 0))
    assert picture_hash(other) not in hashes


def test_the_hash_tells_shapes_apart() -> None:
    assert picture_hash(Image.new("RGB", (2, 6))) != picture_hash(Image.new("RGB", (6, 2)))


def test_many_threads_may_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    scene().save(path)
    seen: list[str] = []
    threads = [threading.Thread(target=lambda: seen.append(picture_hash(load_picture(path)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [picture_hash(scene())] * 8


def test_bytes_at_hand_are_read_as_their_file_would_be(tmp_path: Path) -> None:
    data = encoded(scene(), "PNG")
    nowhere = tmp_path / "in a table.png"
    assert check_picture(nowhere, data=data) == (6, 4)
    assert load_picture(nowhere, data=data).tobytes() == scene().tobytes()
    cut = encoded(scene(64, 64), "BMP")[:5000]
    for broken, reason in ((b"", "is empty"), (b"text", "is not a picture"), (cut, "cut short")):
        with pytest.raises(PictureError, match=f"in a table.png.*{reason}"):
            load_picture(nowhere, data=broken)
