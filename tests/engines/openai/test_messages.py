"""Messages are the same bytes each time, pictures are encoded once, and begin the prompt."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from stepsight.engines.openai.messages import KEPT_PICTURES, PictureURLs, beginning_of, messages_of
from stepsight.errors import PictureError
from stepsight.prompts import answer_turns, judge_prompts, pair_turns
from stepsight.protocols import Turn
from stepsight.records import Piece, Question
from stepsight.stages import Stage


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    image = Image.new("RGB", (40, 20), "navy")
    exif = image.getexif()
    exif[0x0112] = 6  # turn it by a quarter
    exif[0x010F] = "a camera's name"
    image.save(path, exif=exif)
    return path


def decoded(url: str) -> bytes:
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    return base64.b64decode(data)


async def test_a_picture_is_sent_upright_without_the_photographers_notes(picture: Path) -> None:
    data = decoded(await PictureURLs().url(picture))
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (20, 40))
    assert b"camera" not in data
    assert b"eXIf" not in data


async def test_a_picture_is_encoded_once_whatever_its_file_is_called(picture: Path, tmp_path: Path) -> None:
    urls = PictureURLs()
    other = tmp_path / "copy.jpg"
    other.write_bytes(picture.read_bytes())
    found = await asyncio.gather(*(urls.url(path) for path in (picture, other) * 5))
    assert len(set(found)) == 1
    assert urls.encoded == 1


async def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path, urls = tmp_path / "a.png", PictureURLs()
    Image.new("RGB", (8, 8), "red").save(path)
    red = await urls.url(path)
    Image.new("RGB", (8, 8), "blue").save(path)
    os.utime(path, ns=(1, 1))
    assert await urls.url(path) != red


async def test_only_so_many_pictures_are_kept(tmp_path: Path) -> None:
    urls = PictureURLs()
    paths = [tmp_path / f"{index}.png" for index in range(KEPT_PICTURES + 2)]
    for index, path in enumerate(paths):
        Image.new("RGB", (2, 2), (index, 0, 0)).save(path)
        await urls.url(path)
    await urls.url(paths[-1])
    assert urls.encoded == len(paths)
    await urls.url(paths[0])
    assert urls.encoded == len(paths) + 1


async def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"gone\.png"):
        await PictureURLs().url(tmp_path / "gone.png")


async def test_pictures_come_first_and_the_prefix_is_a_last_open_message(picture: Path) -> None:
    turns = (Turn("system", "Be brief."), Turn("user", "What?", (picture,)))
    messages = await messages_of(turns, (Piece(text="<SUMMARY>"), Piece(text=" I")), PictureURLs())
    assert messages[0] == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in messages[1]["content"]] == ["image_url", "text"]
    assert messages[2] == {"role": "assistant", "content": "<SUMMARY> I"}
    assert len(await messages_of(turns, (Piece(text=""),), PictureURLs())) == 2


async def test_judging_prompts_begin_like_the_answering_prompt_to_the_last_byte(picture: Path) -> None:
    question, urls = Question(id="q", text="How many?", images=(picture,)), PictureURLs()
    asked = await messages_of(answer_turns(question), (), urls)
    pair = pair_turns(judge_prompts("paper-1"), question, Stage.CAPTION, {}, "a", "b")
    judged = await messages_of(pair, (), urls)
    one, other = json.dumps(asked), json.dumps(judged)
    question_ends = one.index("How many?") + len("How many?")
    assert other.startswith(one[:question_ends])
    assert beginning_of(asked) == beginning_of(judged)


async def test_other_pictures_and_other_texts_begin_differently(picture: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    Image.new("RGB", (8, 8), "red").save(other)
    urls = PictureURLs()
    turns = [
        Turn("user", "What?", (picture,)),
        Turn("user", "What?", (other,)),
        Turn("user", "What?"),
        Turn("user", "?"),
    ]
    assert len({beginning_of(await messages_of((turn,), (), urls)) for turn in turns}) == 4
    both = [await messages_of((Turn("user", text, (picture,)),), (), urls) for text in ("What?", "Why?")]
    assert beginning_of(both[0]) == beginning_of(both[1])
