"""Big JSON files, row by row: every buffer boundary, every end that is no end, and flat memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from stepsight.data.sources import json_stream
from stepsight.data.sources.json_stream import scan_list, scan_mapping
from stepsight.errors import RecordError

ROWS: list[Any] = [1, -2.5e3, 12345678901234567890, 'a "quoted" \\ é 中 \n', True, None, [], {}, {"a": [1, {"b": "]"}]}]


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 16])
@pytest.mark.parametrize("indent", [None, 1])
def test_rows_come_out_whatever_the_buffer(
    chunk: int, indent: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    for ascii_only in (True, False):
        text = json.dumps(ROWS, indent=indent, ensure_ascii=ascii_only)
        assert list(scan_list(put(tmp_path / "list.json", text))) == ROWS
        head = json.dumps({"info": {"questions": 1}, "questions": ROWS, "more": 2}, indent=indent)
        assert list(scan_list(put(tmp_path / "under.json", head), "questions")) == ROWS
        mapping = {str(number): row for number, row in enumerate(ROWS)}
        assert dict(scan_mapping(put(tmp_path / "map.json", json.dumps(mapping, indent=indent)))) == mapping


@pytest.mark.parametrize("text", ["[]", " [ ] ", "\ufeff[]"])
def test_an_empty_list_has_no_rows(text: str, tmp_path: Path) -> None:
    assert list(scan_list(put(tmp_path / "empty.json", text))) == []
    assert list(scan_mapping(put(tmp_path / "empty.json", "{}"))) == []


@pytest.mark.parametrize("text", ['[1, 2, "thr', "[1, 2, 3", "[1, 2, ", "[1, 2, {]", "[1, 2 3]", "[1, 2, nul]"])
def test_what_comes_before_the_damage_is_given(text: str, tmp_path: Path) -> None:
    rows = scan_list(put(tmp_path / "cut.json", text))
    assert [next(rows), next(rows)] == [1, 2]
    with pytest.raises(RecordError, match=r"row \d and what follows cannot be read"):
        list(rows)


@pytest.mark.parametrize("text", ["", "{}", "null", "<html>", '"rows"'])
def test_another_file_is_no_list(text: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        list(scan_list(put(tmp_path / "other.json", text)))


def test_damage_far_from_the_end_does_not_read_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", 100)
    path = put(tmp_path / "damaged.json", "[1, {2}, " + "3, " * 100_000 + "4]")
    tracemalloc.start()
    with pytest.raises(RecordError, match="row 2"):
        list(scan_list(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_a_missing_key_and_bad_encoding_are_said(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no 'questions'"):
        list(scan_list(put(tmp_path / "other.json", '{"info": []}'), "questions"))
    (tmp_path / "latin.json").write_bytes('["é"]'.encode("latin-1"))
    with pytest.raises(RecordError, match="not UTF-8"):
        list(scan_list(tmp_path / "latin.json"))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for count in (2_000, 20_000):
        path = put(tmp_path / "rows.json", json.dumps([{"id": n, "text": "x" * 80} for n in range(count)]))
        tracemalloc.start()
        assert sum(1 for _ in scan_list(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
