"""`stepsight data ...`: files are written where they are asked for, and the exit code says what was found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.datasets import row, save, write_pictures

from stepsight.cli.app import run


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = write_pictures(tmp_path / "in" / "vg").parent
    rows = [*(row(str(n), question=f"Why {n}?") for n in range(9)), row("zero", image="vg/empty.png")]
    save(folder / "train.jsonl", *rows)
    return folder


def test_audit(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "report.html"
    assert run(["data", "audit", str(dataset), "--out", str(page)]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert "! picture_empty" in out
    assert "picture_empty" in page.read_text()
    assert run(["data", "audit", str(dataset), "--allow", "picture_empty=0.1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["picture_empty"] == 1
    for allow, said in (("picture_empty", "names no share"), ("x=0.1", "no kind of finding 'x'")):
        assert run(["data", "audit", str(dataset), "--allow", allow]) == 2
        assert said in capsys.readouterr().err


def test_import_sheet_and_export(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["data", "import", str(dataset / "train.jsonl"), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out == f"9 rows, 9 turns: {out}\n"
    assert said.err == "set aside: 1 picture_empty\n"
    page = tmp_path / "sheet.html"
    assert run(["data", "sheet", str(out), "--images", str(dataset), "--out", str(page)]) == 0
    assert "picture_empty" in page.read_text()
    assert run(["data", "export", str(out), "--images", str(dataset), "--to", "trl", "--out", str(tmp_path / "t")]) == 0
    assert len((tmp_path / "t" / "train.jsonl").read_text().splitlines()) == 9
    capsys.readouterr()
    assert run(["data", "export", str(out), "--to", "x", "--out", str(tmp_path / "t")]) == 2
    assert "choose one of trl, llama-factory, ms-swift, parquet" in capsys.readouterr().err
    assert run(["data", "sheet", str(tmp_path / "gone"), "--out", str(page)]) == 2
