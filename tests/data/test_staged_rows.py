"""Rows in the public dataset's format: what is sound is read, the rest is set aside by file, line and kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.datasets import answer, pairs, row, save, write_pictures

from stepsight.data.exporting import chat_of
from stepsight.data.row_pictures import check_folder_of_pictures
from stepsight.data.staged_rows import PlacedRow, SetAside, StagedRow, dataset_files, read_rows, scan_rows
from stepsight.errors import InputError
from stepsight.jsonl import read_jsonl, write_jsonl
from stepsight.pictures import load_picture


def test_unsound_rows_are_set_aside_by_file_and_line(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "images")
    path = save(
        tmp_path / "train.jsonl",
        {"id": 7, "image": "sound.png", "conversations": pairs("a?", "b"), "extra": 1},
        "{",
        {"id": "no-pairs", "conversations": pairs("a?")},
        {"id": "order", "conversations": pairs("a?", "b")[::-1]},
        {"id": "none", "conversations": []},
        {"id": "blank", "conversations": pairs("a?", " ")},
        {"id": "mark", "conversations": pairs("a?", "<image>")},
        row("gone", image="x.png"),
        row("zero", image="empty.png"),
        row("out", image="../sound.png"),
        {"id": "text", "conversations": pairs("a?", "b", "c?", "d")},
    )
    read = read_rows(path, images)
    assert [one.id for one in read.rows] == ["7", "text"]
    for line, fault in zip(range(2, 11), read.faults, strict=True):
        assert f"train.jsonl, line {line}" in str(fault)
    aside = [one for one in scan_rows(path, images) if isinstance(one, SetAside)]
    kinds = ["malformed_row"] * 6 + ["picture_missing", "picture_empty", "picture_outside"]
    assert [one.kind for one in aside] == kinds
    assert [one.id for one in aside] == [""] * 6 + ["gone", "zero", "out"]


def test_a_cut_picture_shows_when_it_is_decoded(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "images")
    path = save(tmp_path / "train.jsonl", row("cut", image="cut.png"))
    assert isinstance(next(scan_rows(path, images)), PlacedRow)
    (aside,) = scan_rows(path, images, decode=True)
    assert isinstance(aside, SetAside)
    assert aside.kind == "picture_broken"


def test_staged_rows_must_parse_in_every_turn(tmp_path: Path) -> None:
    path = save(tmp_path / "train.jsonl", {"id": "1", "conversations": pairs("a?", answer("b"), "c?", "d")})
    assert isinstance(next(scan_rows(path, tmp_path)), PlacedRow)
    (aside,) = scan_rows(path, tmp_path, staged=True)
    assert isinstance(aside, SetAside)
    assert aside.kind == "format"
    assert "reply 2: there is text outside the stages: 'd'; SUMMARY is missing" in aside.reason


def test_a_file_without_a_sound_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row to learn from"):
        read_rows(save(tmp_path / "train.jsonl", "{"), tmp_path)


def test_a_row_is_written_as_it_was_published(tmp_path: Path) -> None:
    whole = row("1", image="coco/a.png")
    path = save(tmp_path / "train.jsonl", whole, {"id": "2", "conversations": pairs("a?", "b")})
    rows = read_jsonl(path, StagedRow)
    write_jsonl(tmp_path / "again.jsonl", rows)
    assert (tmp_path / "again.jsonl").read_text().count("null") == 0
    assert read_jsonl(tmp_path / "again.jsonl", StagedRow) == rows
    assert [one.source for one in rows] == ["coco", "text only"]


def test_a_dataset_is_a_file_or_a_folder(tmp_path: Path) -> None:
    path = save(tmp_path / "train.jsonl", row("1"))
    assert dataset_files(tmp_path, None) == dataset_files(path, None) == (path, tmp_path)
    with pytest.raises(InputError, match="no file"):
        dataset_files(tmp_path / "gone", None)


def test_an_archive_in_parts_is_named(tmp_path: Path) -> None:
    (tmp_path / "image.zip.part-aa").write_bytes(b"")
    with pytest.raises(InputError, match=r"cat image\.zip"):
        check_folder_of_pictures(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        check_folder_of_pictures(tmp_path / "x")


def test_a_system_turn_may_come_first_and_nowhere_else(tmp_path: Path) -> None:
    system = {"from": "system", "value": " Be brief.\n"}
    images = write_pictures(tmp_path / "images")
    path = save(
        tmp_path / "train.jsonl",
        {"id": "1", "image": "sound.png", "conversations": [system, *pairs("a?", "b")]},
        {"id": "2", "conversations": [*pairs("a?", "b"), system]},
        {"id": "3", "conversations": [system, system, *pairs("a?", "b")]},
        {"id": "4", "conversations": [system]},
        {"id": "5", "conversations": [{"from": "system", "value": " "}, *pairs("a?", "b")]},
    )
    read = read_rows(path, images)
    assert [(one.id, one.system, one.exchanges) for one in read.rows] == [
        ("1", "Be brief.", [("a?", "b")]),
        ("5", None, [("a?", "b")]),
    ]
    assert len(read.faults) == 3
    write_jsonl(tmp_path / "again.jsonl", read.rows)
    assert tuple(read_jsonl(tmp_path / "again.jsonl", StagedRow)) == read.rows
    assert [message.role for message in chat_of(read.rows[0], images=None).messages] == ["system", "user", "assistant"]


def test_a_rows_picture_has_its_size_read(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "images")
    path = save(tmp_path / "train.jsonl", row("seen", image="sound.png"), row("text"))
    seen, text = scan_rows(path, images)
    assert isinstance(seen, PlacedRow)
    assert seen.size == load_picture(images / "sound.png").size
    assert isinstance(text, PlacedRow)
    assert text.size is None
