"""Slices of the real datasets, where they are at hand beside the repository: what the fixtures say holds for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.fixtures.files import put_json, put_picture
from tests.data.fixtures.reading import aside, read

from stepsight.data.sources.aokvqa import AOKVQA
from stepsight.data.sources.chartqa import ChartQA
from stepsight.data.sources.scienceqa import ScienceQA

SAMPLES = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not at hand")


def test_chartqa() -> None:
    rows, faults = read(ChartQA(split="test"), SAMPLES)
    assert (len(rows), faults) == (32, [])
    assert ChartQA(split="test").find(SAMPLES).rows == 32
    assert rows[0].question.answer == "Myanmar"
    labels = [row.question.answer for row in rows]
    assert "1960" in labels  # a year stays a year


def test_aokvqa(tmp_path: Path) -> None:
    for split, number in (("train", "000000299207"), ("val", None)):
        excerpt = json.loads((SAMPLES / f"aokvqa/aokvqa_v1p0_{split}.excerpt.json").read_text())
        put_json(tmp_path / f"aokvqa/aokvqa_v1p0_{split}.json", excerpt)
        put_picture(tmp_path / f"coco/{split}2017/{number or format(excerpt[0]['image_id'], '012')}.jpg")
    (train,), faults = read(AOKVQA(), tmp_path)
    assert (train.question.answer, train.turns[0].answer, faults) == ("cab", "D", [])
    assert len(read(AOKVQA(split="val"), tmp_path)[0]) == 1


def test_scienceqa(tmp_path: Path) -> None:
    problems = json.loads((SAMPLES / "scienceqa/data/scienceqa/problems.json").read_text())
    put_json(tmp_path / "scienceqa/data/scienceqa/problems.json", problems)
    given = textless = 0
    for split in ("train", "val", "test"):
        for number, row in problems.items():
            if row["image"] and row["split"] == split:
                put_picture(tmp_path / f"scienceqa/data/scienceqa/images/{split}/{number}/{row['image']}")
        rows, faults = read(ScienceQA(split=split), tmp_path)
        given += len(rows)
        textless += len(faults)
        assert {reason for _, reason in aside(faults)} <= {"text-only"}
    assert (given, textless) == (45, 15)
