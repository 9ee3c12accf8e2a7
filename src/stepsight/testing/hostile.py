"""Pictures and requests that are meant to hurt: bombs, lies, torn files, and formats that are not read."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(width: int, height: int, rows: bytes | None = None, extra: bytes = b"") -> bytes:
    """A PNG that says any size it likes."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = _chunk(b"IDAT", zlib.compress(rows if rows is not None else b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + head + extra + data + _chunk(b"IEND", b"")


def _many_frames() -> bytes:
    frames = [Image.new("L", (64, 64), number) for number in range(200)]
    return _saved(frames[0], "GIF", save_all=True, append_images=frames[1:])


def _text_bomb() -> bytes:
    return png_of(4, 4, b"\0" + b"\0" * 48, _chunk(b"zTXt", b"c\0\0" + zlib.compress(b"a" * 200_000_000, 9)))


def _looping_tiff() -> bytes:
    # The only directory of the file says that the next one is itself.
    entry = struct.pack("<HHII", 256, 4, 1, 8)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 8)


def _noise(kind: str) -> bytes:
    whole = _saved(Image.effect_noise((200, 200), 80).convert("RGB"), kind)
    middle = len(whole) // 2
    return whole[:middle] + bytes(byte ^ 0xA5 for byte in whole[middle:])


BAD: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "a word": lambda: b"hello",
    "html": lambda: b"<html><script>alert(1)</script></html>",
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
    "pdf": lambda: b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n",
    "zip": lambda: b"PK\x03\x04" + b"\0" * 100,
    "gzipped png": lambda: gzip.compress(png_of(4, 4)),
    "png of 40,000 x 40,000": lambda: png_of(40_000, 40_000),
    "png of 2^31 x 1": lambda: png_of(2**31 - 1, 1),
    "png of no size": lambda: png_of(0, 0),
    "png with 200 MB of text": _text_bomb,
    "torn png": lambda: _saved(Image.effect_noise((200, 200), 80), "PNG")[:900],
    "bmp of 60,000 x 60,000": lambda: (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, *(0,) * 6)
    ),
    "ppm of 99,999 x 99,999": lambda: b"P6\n99999 99999\n255\n" + b"\0" * 100,
    "ppm of words": lambda: b"P3\n4 4\n255\n" + b"x " * 48,
    "gif of 65,535 x 65,535": lambda: (
        b"GIF89a\xff\xff\xff\xff\x80\0\0" + b"\0" * 6 + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;"
    ),
    "looping tiff": _looping_tiff,
    "tiff of real numbers": lambda: _saved(Image.new("F", (8, 8), 0.5), "TIFF"),
    "torn webp": lambda: _saved(Image.effect_noise((200, 200), 80), "WEBP")[:300],
    "ico": lambda: _saved(Image.new("RGB", (16, 16)), "ICO"),
    "tga": lambda: _saved(Image.new("RGB", (16, 16)), "TGA"),
}
"""None of these may be taken."""

ODD: dict[str, Callable[[], bytes]] = {
    "one pixel": lambda: png_of(1, 1, b"\0abc"),
    "1 x 9,000": lambda: _saved(Image.new("RGB", (1, 9000)), "PNG"),
    "animation": _many_frames,
    "palette with transparency": lambda: _saved(Image.new("P", (9, 9)), "PNG", transparency=0),
    "16 bits": lambda: _saved(Image.new("I;16", (9, 9), 40_000), "PNG"),
    "cmyk": lambda: _saved(Image.new("CMYK", (9, 9)), "JPEG"),
    "one bit": lambda: _saved(Image.new("1", (9, 9)), "TIFF"),
    "turned by its camera": lambda: _saved(Image.new("RGB", (9, 5)), "JPEG", exif=_turned()),
    "with a tail": lambda: png_of(1, 1, b"\0abc") + b"<script>" * 99,
    "damaged jpeg": lambda: _noise("JPEG"),
}
"""These may be taken or not, as they like; nothing else may happen."""


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _post(body: bytes, *headers: str, path: str = "/v1/chat/completions") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: HOST", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _json(body: bytes, *headers: str) -> bytes:
    return _post(body, "Content-Type: application/json", f"Content-Length: {len(body)}", *headers)


def _part(body: bytes, disposition: str) -> bytes:
    data = b"--x\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n" + body + b"\r\n--x--\r\n"
    kind = "Content-Type: multipart/form-data; boundary=x"
    return _post(data, kind, f"Content-Length: {len(data)}", path="/v1/files")


BODIES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: _json(b""),
    "half an object": lambda: _json(b'{"model": "marked'),
    "200,000 brackets": lambda: _json(b"[" * 200_000),
    "200,000 objects": lambda: _json(b'{"a":' * 200_000 + b"1" + b"}" * 200_000),
    "a number of a million digits": lambda: _json(b'{"seed": ' + b"9" * 1_000_000 + b"}"),
    "infinity": lambda: _json(b'{"temperature": Infinity}'),
    "half a character": lambda: _json(b'{"model": "\\ud800"}'),
    "no UTF-8": lambda: _json(b'{"model": "\xff\xfe"}'),
    "a zero byte": lambda: _json(b'{"model": "a\\u0000b", "messages": [{"role": "user", "content": "\\u0000"}]}'),
    "100,000 messages": lambda: _json(
        b'{"model": "marked", "messages": [' + b",".join([b'{"role":"user","content":"a"}'] * 100_000) + b"]}"
    ),
    "100,000 keys": lambda: _json(b"{" + b",".join(b'"k%d":1' % number for number in range(100_000)) + b"}"),
    "5,000 pictures": lambda: _json(
        b'{"model": "marked", "messages": [{"role": "user", "content": ['
        + b",".join([b'{"type":"image_url","image_url":"data:;base64,AAAA"}'] * 5_000)
        + b"]}]}"
    ),
    "a length that is a lie": lambda: _post(b"{}", "Content-Type: application/json", "Content-Length: 5000"),
    "a length below zero": lambda: _post(b"{}", "Content-Type: application/json", "Content-Length: -1"),
    "two lengths": lambda: _post(b"{}", "Content-Length: 2", "Content-Length: 3"),
    "a length and chunks": lambda: _post(b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"),
    "chunks that are none": lambda: _post(b"zz\r\n{}", "Transfer-Encoding: chunked"),
    "30 MB announced": lambda: _post(b"{}", "Content-Type: application/json", "Content-Length: 30000000"),
    "gzip": lambda: _json(gzip.compress(b"{}"), "Content-Encoding: gzip"),
    "headers without end": lambda: _post(b"", *(f"X-{number}: {'a' * 100}" for number in range(2_000))),
    "a file without a name": lambda: _part(b"x", 'form-data; name="file"'),
    "a file called ../../x": lambda: _part(png_of(1, 1, b"\0abc"), 'form-data; name="file"; filename="../../x"'),
    "a field of 2 MB": lambda: _part(b"x" * 2_000_000, 'form-data; name="purpose"'),
    "a form without its end": lambda: _post(
        b"--x\r\n", "Content-Type: multipart/form-data; boundary=x", "Content-Length: 5", path="/v1/files"
    ),
    "no HTTP": lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
    "an old request line": lambda: b"GET /v1/models\r\n\r\n",
}
"""Requests, whole, as bytes; HOST stands for the server's own name."""
