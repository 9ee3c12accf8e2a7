"""Turns as chat messages: pictures first, as data URLs whose bytes never change from one request to the next.

Servers keep what they computed for a prompt by the bytes of its messages and pictures. Requests that begin alike must
therefore be alike to the last byte, or the picture is computed anew for every candidate.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from stepsight.errors import PictureError
from stepsight.pictures import load_picture, picture_hash
from stepsight.protocols import Turn
from stepsight.records import Piece

KEPT_PICTURES = 64
"""So many encoded pictures stay in memory."""

Message = dict[str, Any]


class PictureURLs:
    """Pictures as `data:` URLs, encoded once and kept by the hash of what is seen.

    They are sent as PNG, upright and RGB: the very pixels that a local model would get, and none of the photographer's
    notes (place, camera) that a file may hold. A large photo is large as a PNG; scale it down first if that matters.
    """

    def __init__(self) -> None:
        self.encoded = 0
        self._by_file: OrderedDict[tuple[str, int, int], str] = OrderedDict()
        self._by_hash: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    async def url(self, path: Path) -> str:
        """The URL of a picture; encoding runs in a thread.

        Raises:
            PictureError: the picture cannot be read.
        """
        return await asyncio.to_thread(self._url, path)

    def _url(self, path: Path) -> str:
        try:
            state = path.stat()
        except OSError as error:
            raise PictureError(f"there is no file {path}", hint="check the path of the picture") from error
        file = (str(path.absolute()), state.st_mtime_ns, state.st_size)
        with self._lock:
            known = self._by_file.get(file)
            if known is None or known not in self._by_hash:
                known = self._encode(path)
                _keep(self._by_file, file, known)
            self._by_hash.move_to_end(known)
            return self._by_hash[known]

    def _encode(self, path: Path) -> str:
        picture = load_picture(path)
        seen = picture_hash(picture)
        if seen not in self._by_hash:
            self.encoded += 1
            _keep(self._by_hash, seen, picture_url(picture))
        return seen


def picture_url(picture: Image.Image) -> str:
    """A picture as a `data:` URL holding a PNG."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def user_message(text: str, urls: Sequence[str] = ()) -> Message:
    """What a user says, pictures first; plain text where there are none, for some servers take nothing else."""
    return _message("user", text, urls)


async def messages_of(turns: Sequence[Turn], prefix: Sequence[Piece], pictures: PictureURLs) -> list[Message]:
    """The conversation, with the prefix as a last assistant message that is to be continued."""
    messages = [_message(turn.role, turn.text, [await pictures.url(path) for path in turn.images]) for turn in turns]
    begun = "".join(piece.text for piece in prefix)
    return [*messages, {"role": "assistant", "content": begun}] if begun else messages


def beginning_of(messages: Sequence[Message]) -> str:
    """What a server has to compute first: a hash of all up to the last picture, or of the first text's beginning.

    Requests with the same beginning gain from one another's cache. Judging prompts and further questions about a
    picture begin like the prompt that asked for candidates.
    """
    digest = hashlib.sha256()
    parts = [(message["role"], part) for message in messages for part in _parts(message)]
    last = max((index for index, (_, part) in enumerate(parts) if part["type"] == "image_url"), default=None)
    for role, part in parts[:1] if last is None else parts[: last + 1]:
        text = part["image_url"]["url"] if part["type"] == "image_url" else part["text"]
        digest.update(f"{role}\0{text if last is not None else text[:64]}\0".encode())
    return digest.hexdigest()


def _message(role: str, text: str, urls: Sequence[str]) -> Message:
    if not urls:
        return {"role": role, "content": text}
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": role, "content": [*shown, {"type": "text", "text": text}]}


def _parts(message: Message) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _keep(shelf: OrderedDict[Any, str], key: object, value: str) -> None:
    shelf[key] = value
    while len(shelf) > KEPT_PICTURES:
        shelf.popitem(last=False)
