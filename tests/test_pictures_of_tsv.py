"""Benchmark files: each way a picture is kept in a cell is read, and what is broken is named by its row."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from stepsight.errors import InputError, PictureError, RecordError
from stepsight.pictures_of_tsv import TsvRow, decode_picture, scan_tsv


def png(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((24, 24), 80).convert("RGB").save(stream, "PNG")
    return stream.getvalue() + colour.encode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def tsv(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["index", "question", "image"], delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_each_encoding_is_read(tmp_path: Path) -> None:
    one, two = png("red"), png("blue") + b"\xff\xfe\xfb" * 40
    safe = base64.urlsafe_b64encode(two).decode().rstrip("=")
    assert set("-_") & set(safe)
    path = tsv(
        tmp_path / "a.tsv",
        [
            {"index": 1, "question": 'Say "what"\tis it?\nNow.', "image": b64(one)},
            {"index": "x_2", "question": "?", "image": f"data:image/png;base64,{b64(one)}"},
            {"index": 3, "question": "?", "image": safe},
            {"index": 4, "question": "?", "image": str([b64(one), b64(two)])},
            {"index": 5, "question": "?", "image": 1},
            {"index": 6, "question": "?", "image": ""},
            {"index": 7, "question": "?", "image": 8},
            {"index": 8, "question": "?", "image": b64(two)[:90] + "\n" + b64(two)[90:]},
        ],
    )
    rows = [row for row in scan_tsv(path) if isinstance(row, TsvRow)]
    assert [row.pictures for row in rows] == [(one,), (one,), (two,), (one, two), (), (), (), (two,)]
    assert [row.same_as for row in rows] == ["", "", "", "", "1", "", "8", ""]
    assert rows[0].cells == {"index": "1", "question": 'Say "what"\tis it?\nNow.'}
    assert [row.index for row in rows[:2]] == ["1", "x_2"]
    assert decode_picture(one, "row 1").size == (24, 24)


def test_names_of_pictures_are_read_where_the_file_holds_none(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("index\timage_path\n1\ta/1.png\n2\t['a/2.png', 'b.png']\n3\t\n4\t[1]\n")
    *rows, fault = scan_tsv(path)
    assert [row.names for row in rows if isinstance(row, TsvRow)] == [("a/1.png",), ("a/2.png", "b.png"), ()]
    assert "a.tsv, row 4: its image_path is no list of names" in str(fault)
    path.write_text(f"index\timage_path\timage\n1\ta/1.png\t{b64(png('red'))}\n")
    (row,) = scan_tsv(path)
    assert isinstance(row, TsvRow)
    assert (row.names, len(row.pictures)) == ((), 1)


def test_what_is_broken_is_named_by_its_row(tmp_path: Path) -> None:
    path = tsv(
        tmp_path / "a.tsv",
        [
            {"index": 1, "question": "?", "image": "!" * 100},
            {"index": "", "question": "?", "image": b64(png("red"))},
            {"index": 3, "question": "?", "image": "[1, 2]"},
            {"index": 4, "question": "?", "image": 9},
            {"index": 5, "question": "?", "image": 4},
        ],
    )
    with path.open("a") as stream:
        stream.write("6\t?\n")
    faults = [str(row) for row in scan_tsv(path) if isinstance(row, RecordError)]
    wanted = ["no base64", "no index", "not a list of texts", "as many cells", "of row 9", "of row 4"]
    for want, line, fault in zip(wanted, (1, 2, 3, 6, 4, 5), faults, strict=True):
        assert want in fault
        assert f"a.tsv, row {line}:" in fault
    with pytest.raises(PictureError, match="row 1: not a picture"):
        decode_picture(b"\x89PNG but not", "row 1")


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("question\timage\n?\t\n")
    with pytest.raises(InputError, match="no column index"):
        list(scan_tsv(tmp_path / "a.tsv"))
    (tmp_path / "a.tsv").write_text("index\tquestion\n1\t?\n")
    with pytest.raises(InputError, match="no column image"):
        list(scan_tsv(tmp_path / "a.tsv"))
    with pytest.raises(InputError, match="cannot be read"):
        list(scan_tsv(tmp_path / "b.tsv"))
