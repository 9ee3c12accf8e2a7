"""Pictures that clients send: hostile ones, twins, uploads, and what is left lying when they have gone."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from stepsight.errors import PictureError
from stepsight.pictures import load_picture
from stepsight.serving import picture_shelf
from stepsight.serving.limits import Limits
from stepsight.serving.picture_shelf import PictureShelf
from stepsight.serving.refusals import Refused, refusal_of
from stepsight.testing.hostile import BAD, ODD
from stepsight.testing.processes import png


@pytest.fixture
def shelf() -> Any:
    shelf = PictureShelf(Limits(megapixels=1, uploads=2, upload_seconds=60))
    yield shelf
    shelf.close()


def lying(shelf: PictureShelf) -> set[str]:
    return {path.name for path in Path(shelf._folder.name).iterdir()}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_picture_is_refused_and_leaves_nothing(shelf: PictureShelf, name: str) -> None:
    with pytest.raises((PictureError, Refused)) as failed, shelf.lease() as lease:
        await lease.put(BAD[name]())
    refused = failed.value if isinstance(failed.value, Refused) else refusal_of(failed.value, {})
    assert (refused.status, refused.code) == (400, "invalid_image")
    assert "/" not in refused.message.replace("16-bit", "")
    assert not lying(shelf)


@pytest.mark.parametrize("name", ODD)
async def test_odd_pictures_are_taken_or_refused(shelf: PictureShelf, name: str) -> None:
    data = ODD[name]()
    with shelf.lease() as lease:
        try:
            picture = await lease.put(data)
        except PictureError:
            assert not lying(shelf)
        else:
            assert load_picture(picture.path).mode == "RGB"


async def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(
    shelf: PictureShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_shelf, "load_picture", None)
    with pytest.raises(PictureError, match="1001 x 1000 pixels"), shelf.lease() as lease:
        await lease.put(png(size=(1001, 1000)))


async def test_twins_are_decoded_once_and_lie_at_one_path(shelf: PictureShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []

    def load(path: Path, *, max_pixels: int) -> Any:
        decoded.append(path)
        return load_picture(path, max_pixels=max_pixels)

    monkeypatch.setattr(picture_shelf, "load_picture", load)
    with shelf.lease() as lease, shelf.lease() as other:
        first, second, third = await asyncio.gather(lease.put(png()), other.put(png()), lease.put(png("blue")))
    with shelf.lease() as lease:
        again = await lease.put(png())
    assert first == second == again
    assert first.seen != third.seen
    assert len(decoded) == 2
    assert shelf.files == 2


async def test_one_client_that_goes_away_does_not_end_the_work_for_its_twin(shelf: PictureShelf) -> None:
    with shelf.lease() as lease, shelf.lease() as other:
        leaving, staying = (asyncio.create_task(one.put(png())) for one in (lease, other))
        await asyncio.sleep(0)
        leaving.cancel()
        assert (await staying).path.exists()
        assert leaving.cancelled() or lease.held == []


async def test_room_is_made_of_what_nobody_uses(shelf: PictureShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_shelf, "_KEPT_FILES", 2)
    with shelf.lease() as lease:
        used = [await lease.put(png((number, 0, 0))) for number in range(4)]
        with shelf.lease() as other:
            await other.put(png("blue"))
        assert all(picture.path.exists() for picture in used)
        assert shelf.files == 4
    assert shelf.files == 2
    assert [picture.path.exists() for picture in used] == [False, False, True, True]
    assert len(lying(shelf)) == 2


async def test_uploads_are_kept_for_a_while_and_within_bounds(
    shelf: PictureShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_shelf, "_KEPT_FILES", 0)
    first = await shelf.upload(png(), "a.png")
    await shelf.upload(png("blue"), "b.png")
    with pytest.raises(Refused, match="too many") as refused:
        await shelf.upload(png("green"), "c.png")
    assert refused.value.status == 429
    assert shelf.uploaded(first.id).picture.path.exists()
    shelf.discard(first.id)
    assert not first.picture.path.exists()
    with pytest.raises(Refused) as gone:
        shelf.uploaded(first.id)
    assert gone.value.status == 404
    clock = time.monotonic
    monkeypatch.setattr("stepsight.serving.picture_shelf.time.monotonic", lambda: clock() + 61)
    kept = await shelf.upload(png("green"), "c.png")
    assert list(shelf._uploads) == [kept.id]


async def test_an_upload_that_is_in_use_outlives_its_time(shelf: PictureShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_shelf, "_KEPT_FILES", 0)
    upload = await shelf.upload(png(), "a.png")
    with shelf.lease() as lease:
        held = lease.hold(shelf.uploaded(upload.id).picture)
        shelf.discard(upload.id)
        assert held.path.exists()
    assert not held.path.exists()


async def test_a_request_may_come_just_when_its_picture_is_done(shelf: PictureShelf) -> None:
    data = png()
    digest = hashlib.sha256(data).hexdigest()
    # Done, and nothing that follows from it has run yet.
    task = asyncio.create_task(shelf._make(digest, data))
    made = await task
    shelf._making[digest] = task
    asyncio.get_running_loop().call_soon(shelf._made, digest, task)
    with shelf.lease() as lease:
        assert await lease.put(data) is made
    assert not shelf._making
