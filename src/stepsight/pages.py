"""One self-contained HTML page: nothing is loaded from anywhere, and the page itself forbids it."""

from __future__ import annotations

import base64
import hashlib
import io
from html import escape

from PIL import Image


def whole_page(title: str, body: str, *, style: str, script: str = "") -> str:
    """A page whose policy allows its own style, its own script and pictures inside it, and nothing else.

    Args:
        title: plain text.
        body: HTML in which everything foreign is escaped already.
        style: CSS; `style` attributes in `body` are not allowed.
        script: JavaScript, at the end of the body.
    """
    sources = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'"
    allowed = f"{sources}; script-src '{_hash(script)}'" if script else sources
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(allowed)}">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n"
        f"<body>{body}{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )


def picture_data(picture: Image.Image, widest: int) -> str:
    """A picture as a `data:` URL, at most `widest` pixels wide and high: PNG if it is small, else JPEG."""
    shown = picture.convert("RGB")
    shown.thumbnail((widest, widest), Image.Resampling.LANCZOS)
    kind = "png" if shown.width <= 256 else "jpeg"
    stream = io.BytesIO()
    shown.save(stream, format=kind)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
