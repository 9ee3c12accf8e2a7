"""`stepsight data`: what sources say of themselves and of the files at hand, and the rows of a recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.fixtures import native

from stepsight.cli.app import run
from stepsight.data.sources.catalogue import catalogue
from stepsight.jsonl import read_jsonl
from stepsight.records import Question


def test_every_source_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    native.docvqa(tmp_path)
    native.chartqa(tmp_path)
    (tmp_path / "chartqa/ChartQA Dataset/train/train_augmented.json").unlink()
    human = tmp_path / "chartqa/ChartQA Dataset/train/train_human.json"
    human.write_text(human.read_text()[:-40])
    assert run(["data", "sources", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for source in catalogue().values():
        assert source.layout in out
    assert "31,300" in out
    assert "chartqa/ChartQA Dataset/train/train_augmented.json: missing" in out
    assert f"{human}: row 10 and what follows cannot be read" in out


def test_the_list_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    native.docvqa(tmp_path)
    assert run(["data", "sources", "--root", str(tmp_path), "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["sources"]}
    assert list(listed) == list(catalogue())
    assert listed["docvqa"]["rows"] == 5
    assert listed["docvqa"]["paper_count"] == 4000
    assert listed["docvqa"]["files"][0]["path"] == str(tmp_path / "docvqa/train/train_v1.0.json")
    assert listed["aokvqa"]["missing"] == ["aokvqa/aokvqa_v1p0_train.json", "coco/train2017/"]
    assert all(one["licence"] and one["homepage"] for one in listed.values())


def test_a_root_that_is_none_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "sources", "--root", str(tmp_path / "no")]) == 2
    assert "no such folder" in capsys.readouterr().err


def put_recipe(root: Path, docvqa: int) -> Path:
    native.docvqa(root)
    path = root / "recipe.yaml"
    path.write_text(f"sources:\n  docvqa: {docvqa}\n  world: 2\nroot: {root}\n")
    return path


def test_compose_writes_questions_and_names_what_it_sets_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out, faults = put_recipe(tmp_path, 1), tmp_path / "asked.jsonl", tmp_path / "faults.txt"
    assert run(["data", "compose", str(recipe), "--out", str(out), "--faults", str(faults)]) == 0
    assert [question.source for question in read_jsonl(out, Question)] == ["docvqa", "world", "world"]
    captured = capsys.readouterr()
    assert captured.out == f"3 rows, 3 questions: {out}\n"
    assert "docvqa: 1 sound rows for 1" in captured.err
    assert [line.split("\t")[0] for line in faults.read_text().splitlines()] == [
        "unanswered",
        "unanswered",
        "image-missing",
        "row",
    ]


def test_compose_says_what_is_short_before_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out = put_recipe(tmp_path, 3), tmp_path / "asked.jsonl"
    assert run(["data", "compose", str(recipe), "--out", str(out)]) == 2
    assert not out.exists()
    err = capsys.readouterr().err
    assert "too few rows" in err
    assert "row 4: there is no picture" in err
    assert run(["data", "compose", str(recipe), "--out", str(out), "--partial"]) == 0
    assert len(read_jsonl(out, Question)) == 3
    assert run(["data", "compose", str(recipe), "--out", str(out), "--set", "sources.docvqa=1"]) == 0
