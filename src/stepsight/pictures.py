"""Pictures from disk: checked before they are decoded, always RGB and upright.

Formats are limited to common raster ones: Pillow would also hand PostScript to an outside program.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from stepsight.errors import PictureError

MAX_PIXELS = 64_000_000
"""The largest picture that is decoded, unless told otherwise: 192 MB as RGB."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""The formats that are read, by Pillow's names."""

_opening = threading.Lock()


def check_picture(path: Path, *, data: bytes | None = None, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Read only the header of `path` and return (width, height) in pixels as stored, before any turning.

    With `data`, the bytes of the file that are at hand already, `path` is no more than its name.

    Raises:
        PictureError: there is no such file, it is no picture, or it has more than `max_pixels`.
    """
    with _opened(path, data, max_pixels) as image:
        return image.size


def load_picture(path: Path, *, data: bytes | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read `path` as an RGB picture, turned as its EXIF orientation says.

    Of an animation this is the first frame. Transparent parts become white, for most see-through pictures are diagrams
    in dark ink. 16-bit grey is scaled to 8 bits, where Pillow alone would cut it off at 255. `data` as for
    `check_picture`.

    Raises:
        PictureError: as `check_picture`, or the data after the header are broken or cut short.
    """
    with _opened(path, data, max_pixels) as opened:
        if opened.mode == "F":
            raise PictureError(f"{path} holds real numbers, not colours", hint="save it as an 8-bit picture")
        try:
            opened.load()
            return _rgb(ImageOps.exif_transpose(opened))  # a copy even of an upright one: it outlives the file
        except MemoryError:
            raise
        except Exception as error:  # broken bytes make decoders raise almost anything
            raise PictureError(
                f"{path} is damaged or cut short: {error}", hint="save or download the picture again"
            ) from error


def picture_hash(image: Image.Image) -> str:
    """Return the SHA-256 of what is seen, in hexadecimal: size and RGB bytes, whatever file it came from."""
    rgb = _rgb(image)
    digest = hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode("ascii"))
    digest.update(rgb.tobytes())
    return digest.hexdigest()


@contextmanager
def _opened(path: Path, data: bytes | None, max_pixels: int) -> Iterator[ImageFile.ImageFile]:
    """Open `path`, or its bytes, with its header read and its size checked."""
    try:
        image = _open(path if data is None else BytesIO(data))
    except FileNotFoundError as error:
        raise PictureError(f"there is no file {path}", hint="check the path of the picture") from error
    except IsADirectoryError as error:
        raise PictureError(f"{path} is a folder", hint="give the path of a picture in it") from error
    except Image.DecompressionBombError as error:
        raise _too_large(f"{path} has far too many pixels", max_pixels) from error
    except UnidentifiedImageError as error:
        size = path.stat().st_size if data is None else len(data)
        reason = "is empty" if size == 0 else "is not a picture that can be read"
        raise PictureError(f"{path} {reason}", hint=f"use one of {', '.join(FORMATS)}") from error
    except OSError as error:
        raise PictureError(f"{path} cannot be read: {error.strerror or error}", hint="check the file") from error
    except MemoryError:
        raise
    except Exception as error:  # broken headers make Pillow raise almost anything
        raise PictureError(
            f"{path} has a damaged header: {error}", hint="save or download the picture again"
        ) from error
    with image:
        if image.width * image.height > max_pixels:
            raise _too_large(f"{path} has {image.width} x {image.height} pixels", max_pixels)
        yield image


def _open(source: Path | BytesIO) -> ImageFile.ImageFile:
    # Our own limit replaces Pillow's warning. Warning filters belong to the whole process, hence the lock.
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(source, formats=FORMATS)


def _too_large(what: str, max_pixels: int) -> PictureError:
    return PictureError(f"{what}; at most {max_pixels / 1e6:g} million are read", hint="scale the picture down")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if image.has_transparency_data:  # also RGB with one see-through colour
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
