"""Pictures that clients send: checked, decoded once to see that they can be, and kept as files for the engines.

A picture is known by the bytes it came in. The same bytes are looked at once, however often they are sent, and lie at
one path, so that an engine that knows them already need not read them again. Nothing that a client says of a picture is
believed: neither its name nor its type.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import tempfile
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stepsight.errors import PictureError
from stepsight.files import whole_file
from stepsight.pictures import check_picture, load_picture, picture_hash
from stepsight.serving.limits import Limits
from stepsight.serving.refusals import Refused, invalid
from stepsight.world.recognise import looks_drawn

_AT_ONCE = 2
"""So many are decoded at a time: a decoded picture takes many times the room of its file."""
_KEPT_BYTES = 512_000_000
_KEPT_FILES = 2048


@dataclass(frozen=True)
class Shelved:
    """A picture on the shelf. `seen` is the hash of its pixels; `drawn`: it looks like the drawn world."""

    path: Path
    size: int
    seen: str
    drawn: bool


@dataclass(frozen=True)
class Upload:
    """A picture that was uploaded to be asked about later; `until` is a time of the monotonic clock."""

    id: str
    picture: Shelved
    filename: str
    created: int
    until: float


class Lease:
    """Pictures that a request uses; they stay on the shelf until it is over."""

    def __init__(self, shelf: PictureShelf) -> None:
        self._shelf = shelf
        self.held: list[Shelved] = []

    def hold(self, picture: Shelved) -> Shelved:
        """Keep a picture that is on the shelf."""
        self.held.append(picture)
        self._shelf._pins[picture.path] += 1
        return picture

    async def put(self, data: bytes) -> Shelved:
        """Take in the bytes of a picture.

        Raises:
            PictureError: they are none that can be read, or it has too many pixels.
        """
        return await self._shelf._put(data, self)


class PictureShelf:
    """The pictures of one server, in a folder of its own that goes with it.

    It holds what requests use, what was uploaded, and of the rest the latest, within a bound of bytes and files.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._folder = tempfile.TemporaryDirectory(prefix="stepsight-serve-", ignore_cleanup_errors=True)
        self._known: OrderedDict[str, Shelved] = OrderedDict()
        self._making: dict[str, asyncio.Task[Shelved]] = {}
        self._pins: Counter[Path] = Counter()
        self._decoding = asyncio.Semaphore(_AT_ONCE)
        self._uploads: OrderedDict[str, Upload] = OrderedDict()

    @property
    def files(self) -> int:
        """How many pictures it holds."""
        return len(self._known)

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """What is taken in, or held, stays while the block runs."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            for picture in lease.held:
                self._unpin(picture)
            self._tidy()

    def close(self) -> None:
        """Delete everything."""
        self._folder.cleanup()

    # Uploads.

    async def upload(self, data: bytes, filename: str) -> Upload:
        """Keep a picture for requests to come.

        Raises:
            PictureError: as `Lease.put`.
            Refused: too many are kept already.
        """
        self._expire()
        if len(self._uploads) >= self._limits.uploads:
            raise Refused(429, "too many pictures are uploaded at the moment", "too_many_files", retry_after=60)
        with self.lease() as lease:
            picture = await lease.put(data)
            until = time.monotonic() + self._limits.upload_seconds
            upload = Upload(f"file-{secrets.token_hex(16)}", picture, filename, int(time.time()), until)
            self._uploads[upload.id] = upload
            self._pins[picture.path] += 1
            return upload

    def uploaded(self, file_id: str) -> Upload:
        """A picture that was uploaded.

        Raises:
            Refused: there is none of this id, or it was kept long enough.
        """
        self._expire()
        if file_id not in self._uploads:
            raise Refused(404, "there is no file of this id, or it was kept long enough", "file_not_found", "file_id")
        return self._uploads[file_id]

    def discard(self, file_id: str) -> None:
        """Let go of an upload.

        Raises:
            Refused: as `uploaded`.
        """
        upload = self.uploaded(file_id)
        del self._uploads[file_id]
        self._unpin(upload.picture)
        self._tidy()

    def _expire(self) -> None:
        now = time.monotonic()
        for upload in [upload for upload in self._uploads.values() if upload.until <= now]:
            del self._uploads[upload.id]
            self._unpin(upload.picture)

    # The shelf.

    async def _put(self, data: bytes, lease: Lease) -> Shelved:
        if not data:
            raise invalid("a picture has no bytes", "messages", "invalid_image")
        digest = hashlib.sha256(data).hexdigest()
        while digest not in self._known:
            task = self._making.get(digest)
            if task is None:
                task = asyncio.create_task(self._make(digest, data))
                self._making[digest] = task
                task.add_done_callback(lambda done: self._made(digest, done))
            # Another request may wait for the same picture; its client going away must not end this one's work.
            await asyncio.shield(task)
            # A task that is done is waited for no longer, though what follows it may still be to come; and nobody may
            # have held the picture yet when room was made.
            await asyncio.sleep(0)
        self._known.move_to_end(digest)
        return lease.hold(self._known[digest])

    async def _make(self, digest: str, data: bytes) -> Shelved:
        async with self._decoding:
            return await asyncio.to_thread(self._look, digest, data)

    def _made(self, digest: str, task: asyncio.Task[Shelved]) -> None:
        del self._making[digest]
        if not task.cancelled() and task.exception() is None:
            self._known[digest] = task.result()

    def _look(self, digest: str, data: bytes) -> Shelved:
        path = Path(self._folder.name) / digest
        with whole_file(path) as stream:
            stream.write(data)
        try:
            check_picture(path, max_pixels=self._limits.pixels)
            picture = load_picture(path, max_pixels=self._limits.pixels)
            return Shelved(path, len(data), picture_hash(picture), looks_drawn(picture))
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, PictureError):
                raise PictureError(_unnamed(error.args[0], path), hint=error.hint) from None
            raise

    def _unpin(self, picture: Shelved) -> None:
        self._pins[picture.path] -= 1
        if not self._pins[picture.path]:
            del self._pins[picture.path]

    def _tidy(self) -> None:
        """Let go of what nobody uses, the longest unused first, until the rest is within the bounds."""
        total = sum(picture.size for picture in self._known.values())
        for digest, picture in list(self._known.items()):
            if total <= _KEPT_BYTES and len(self._known) <= _KEPT_FILES:
                break
            if picture.path not in self._pins:
                del self._known[digest]
                picture.path.unlink(missing_ok=True)
                total -= picture.size


def _unnamed(message: str, path: Path) -> str:
    return message.replace(str(path), "the picture").replace(path.name, "the picture")
