"""Rows of one's own as JSON lines, parquet, a folder of the hub, and the world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.data.fixtures.files import put_picture
from tests.data.fixtures.reading import aside, asked, read

from stepsight.conclusions import ballot
from stepsight.data.sources.hub_folder import HubFolder
from stepsight.data.sources.llava_jsonl import LlavaJsonl
from stepsight.data.sources.parquet import Parquet
from stepsight.data.sources.world import World

SAID = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "That."}]


def png(folder: Path) -> bytes:
    return put_picture(folder / "made.png").read_bytes()


def test_llava_lines_with_hints_and_dirt(tmp_path: Path) -> None:
    folder = tmp_path / "llava_jsonl"
    put_picture(folder / "images/a.png")
    lines = [
        json.dumps({"id": "x", "image": "a.png", "conversations": SAID, "hints": ["Look left.", ""]}).encode(),
        b"",
        b'{"id": "y", "image"',
        b'{"id": "\xff"}',
        json.dumps({"image": ["a.png", "a.png"], "conversations": SAID}).encode(),
        json.dumps({"image": "a.png", "conversations": SAID[::-1]}).encode(),
    ]
    (folder / "mine.jsonl").write_bytes(b"\n".join(lines))
    rows, faults = read(LlavaJsonl(), tmp_path)
    assert asked(rows) == [("What?", "That.")] * 2
    assert [row.question.id for row in rows] == ["llava_jsonl-mine-1", "llava_jsonl-mine-5"]
    assert rows[0].hint == "Look left."
    assert len(rows[1].question.images) == 2
    assert aside(faults) == [(3, "row"), (4, "row"), (6, "row")]
    assert LlavaJsonl().find(tmp_path).rows == 5


def table(folder: Path) -> list[dict[str, Any]]:
    data = png(folder)
    held = {"bytes": data, "path": "made.png"}
    return [
        {"question": "Q0", "answer": "1", "choices": ["red", "blue"], "image": held},  # a text that is no choice
        {"question": "Q1", "answer": "blue", "choices": ["red", "blue"], "image": held},
        {"question": "Q2", "answer": "A", "choices": ["red", "blue"], "image": held},
        {"question": "Q3", "answer": "free", "choices": None, "image": {"bytes": None, "path": "made.png"}},
        {"question": "Q4", "answer": "free", "choices": None, "image": {"bytes": b"", "path": None}},
        {"question": "Q5", "answer": None, "choices": None, "image": held},
        {"question": "Q6", "answer": "free", "choices": None, "image": None},
        {"question": "Q7", "answer": "free", "choices": None, "image": {"bytes": data[:-30], "path": None}},
    ]


def check_table(rows: Any, faults: Any, folder: Path) -> None:
    assert asked(rows) == [("Q1", "blue"), ("Q2", "red"), ("Q3", "free")]
    assert [row.turns[0].answer for row in rows] == ["B", "A", "free"]
    assert rows[0].question.images == rows[1].question.images  # one picture, one file
    assert rows[0].question.images[0].read_bytes() == png(folder)
    expected = ["row", "image-empty", "unanswered", "text-only", "image-damaged"]
    assert aside(faults) == list(zip([1, 5, 6, 7, 8], expected, strict=True))


def test_parquet_with_pictures_inside(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "parquet"
    parquet.write_table(arrow.Table.from_pylist(table(folder)), folder / "rows.parquet")
    check_table(*read(Parquet(), tmp_path), folder)
    assert Parquet().find(tmp_path).rows == 8
    (folder / "rows.parquet").write_bytes((folder / "rows.parquet").read_bytes()[:300])
    assert [str(fault.reason) for fault in read(Parquet(), tmp_path)[1]] == ["file"]
    assert "damaged" in Parquet().find(tmp_path).faults[0]


def test_parquet_of_conversations_and_numbers(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "parquet"
    picture = {"bytes": png(folder), "path": None}
    parquet.write_table(
        arrow.Table.from_pylist([{"id": 7, "image": picture, "conversations": SAID}]), folder / "a.parquet"
    )
    numbers = [{"question": "Q", "options": ["x", "y"], "answer": answer, "image": "made.png"} for answer in (1, 2)]
    parquet.write_table(arrow.Table.from_pylist(numbers), folder / "b.parquet")
    rows, faults = read(Parquet(), tmp_path)
    assert asked(rows) == [("What?", "That."), ("Q", "y")]
    assert aside(faults) == [(2, "row")]


@pytest.mark.parametrize("place", ["data-00000-of-00001.arrow", "train/data-00000-of-00001.arrow"])
def test_a_hub_folder_saved_on_disk(place: str, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    folder = tmp_path / "hub_folder"
    path = folder / place
    path.parent.mkdir(parents=True)
    rows = arrow.Table.from_pylist(table(folder))
    with arrow.OSFile(str(path), "wb") as stream, arrow.ipc.new_stream(stream, rows.schema) as writer:
        writer.write_table(rows)
    check_table(*read(HubFolder(), tmp_path), folder)
    assert HubFolder().find(tmp_path).rows == 8


def test_a_hub_folder_as_downloaded(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "hub_folder"
    put_picture(folder / "data" / "x.png")
    for split in ("train", "test"):
        parquet.write_table(arrow.Table.from_pylist(table(folder)), folder / f"data/{split}-00000-of-00001.parquet")
    check_table(*read(HubFolder(), tmp_path), folder)
    assert [file.path.name for file in HubFolder().find(tmp_path).files] == ["train-00000-of-00001.parquet"]


def test_the_world_draws_as_many_as_are_asked_for(tmp_path: Path) -> None:
    rows, faults = read(World(count=3, seed=5), tmp_path)
    assert not faults
    assert len({row.question.id for row in rows}) == 3
    assert all(row.question.images[0].is_relative_to(tmp_path / "world") for row in rows)
    assert rows == read(World(count=4, seed=5), tmp_path)[0][:3]
    assert all(ballot(row.question, row.turns[0].answer) for row in rows)
    assert World(count=3).find(tmp_path).rows == 3
