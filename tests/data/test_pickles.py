"""Pickles of plain data are read; one that would run anything is refused before it runs."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy
import pytest
from tests.data.fixtures.reading import read

from stepsight.data.sources.geoqa_plus import GeoQAPlus
from stepsight.data.sources.pickles import load_plain
from stepsight.errors import RecordError


class Runs:
    """What an attacker pickles: reading it would call a function."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self._call = call, arguments

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_back(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "plain.pk"
    array = numpy.arange(24, dtype=numpy.uint8).reshape(2, 4, 3)
    data = [{"id": 1, "x": 1.5, "text": "图", "set": {1, 2}, "ordered": OrderedDict(a=b"\xff"), "t": (1,)}]
    path.write_bytes(pickle.dumps([*data, array, numpy.float64(2.5), numpy.int64(3)], protocol=protocol))
    plain, pixels, real, whole = load_plain(path)
    assert [plain] == data
    assert (pixels == array).all()
    assert (real, whole) == (2.5, 3)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda mark: Runs(os.system, f"touch {mark}"), r"posix\.system|nt\.system"),
        (lambda mark: Runs(eval, f"open({str(mark)!r}, 'w')"), r"builtins\.eval"),
        (lambda mark: Runs(getattr, str(mark), "upper"), r"builtins\.getattr"),
        (lambda mark: Runs(numpy.save, str(mark), 1), r"numpy"),
        (lambda mark: Runs(numpy.load, str(mark)), r"numpy"),
    ],
)
def test_code_is_refused_and_not_run(call: Any, named: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "geoqa_plus" / "Mix-train.pk"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps([{"id": 1}, call(mark)]))
    with pytest.raises(RecordError, match=rf"refused: it would run ({named})"):
        load_plain(path)
    rows, faults = read(GeoQAPlus(), tmp_path)
    assert not rows
    assert [str(fault.reason) for fault in faults] == ["file"]
    assert "refused" in GeoQAPlus().find(tmp_path).faults[0]
    assert not list(tmp_path.glob("ran*"))


def test_old_bytes_take_no_codec_but_their_own(tmp_path: Path) -> None:
    path = tmp_path / "codec.pk"
    path.write_bytes(b"c_codecs\nencode\n(Vabc\nVrot13\ntR.")
    with pytest.raises(RecordError, match="rot13"):
        load_plain(path)


@pytest.mark.parametrize("data", [b"", b"\x80", b"<html>", pickle.dumps(list(range(99)))[:-9]])
def test_damage_is_said(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged.pk"
    path.write_bytes(data)
    with pytest.raises(RecordError, match="damaged"):
        load_plain(path)
