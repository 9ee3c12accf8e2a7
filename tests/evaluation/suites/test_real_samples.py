"""Slices of the real benchmarks, where they are at hand beside the repository: what the fixtures say holds for them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.suites.files import Row, b64, png, staged, write

from stepsight.evaluation.suites import Prediction, read_suite, score_by_rules
from stepsight.pictures import load_picture

SAMPLES = Path(__file__).parents[4] / "shared" / "data"

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not at hand")


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text(encoding="utf-8"))


def test_mmstar(tmp_path: Path) -> None:
    samples = sample("mmstar/mmstar_rows.json")
    rows: list[Row] = []
    for row in samples:
        parts = re.split(r"(?:\nOptions: |, |\n)\(?([A-D])[:)] ", row["question"])
        options = dict(zip(parts[1::2], parts[2::2], strict=True))
        assert list(options) == ["A", "B", "C", "D"]
        rows.append(
            {**{key: value for key, value in row.items() if key != "prediction"}, **options, "image": b64(png(1))}
        )
    write(tmp_path / "MMStar.tsv", rows)
    suite = read_suite("MMStar", root=tmp_path)
    assert "Options: A: " in suite.questions()[0].meta["wording"]  # as the original annotations have it
    predictions = [Prediction(index=row["index"], text=row["prediction"]) for row in samples]
    scores = score_by_rules(suite, predictions).whole
    assert (scores.overall.value, scores.overall.n, scores.overall.unscored) == (2 / 24, 24, 0)
    assert {group.name: group.measure.n for group in scores.groups if group.kind == "category"} == {
        "coarse perception": 12,
        "fine-grained perception": 12,
    }


def test_mmbench(tmp_path: Path) -> None:
    rows: list[Row] = []
    for row in sample("mmbench/mmbench_samples.json"):
        options = {letter: row[letter] for letter in "ABCD" if row.get(letter) is not None}
        if row["lang"] != "en":
            continue
        picture = (SAMPLES / "mmbench" / row["image_file"]).read_bytes()
        texts = list(options.values())
        for turn in range(len(texts)):
            turned = texts[turn:] + texts[:turn]
            rows.append(
                {
                    "index": turn * 1_000_000 + row["index"],
                    "question": row["question"],
                    "hint": "",
                    **dict.fromkeys("ABCD", ""),
                    **dict(zip("ABCD", turned, strict=False)),
                    "answer": "ABCD"[turned.index(options[row["answer"]])],
                    "category": row["category"],
                    "l2-category": row["l2-category"],
                    "split": "dev",
                    "image": b64(picture) if turn == 0 else row["index"],
                }
            )
    write(tmp_path / "MMBench_DEV_EN_V11.tsv", rows)
    suite = read_suite("MMBench_DEV_EN_V11", root=tmp_path)
    questions = suite.questions()
    assert len(questions) == len(rows)
    assert len({question.images for question in questions}) == 20
    sizes = {load_picture(question.images[0]).size for question in questions}
    assert len(sizes) > 5
    right = [Prediction(index=line.index, text=staged(line.text("answer"))) for line in suite.lines]
    assert score_by_rules(suite, right).whole.exact is not None
    conclusion = score_by_rules(suite, right).conclusion
    assert conclusion is not None
    assert (conclusion.overall.value, conclusion.overall.n) == (1.0, 20)
    texts = [Prediction(index=line.index, text=line.options[line.text("answer")]) for line in suite.lines]
    by_text = score_by_rules(suite, texts).whole
    wrong = {int(reading.index) % 1_000_000 for reading in by_text.readings if not reading.hit}
    # The right option of 318 is "Solution B", which is read as the letter B in every turn.
    assert wrong == {318}
    assert by_text.overall.value == 19 / 20


def test_mathvista(tmp_path: Path) -> None:
    rows: list[Row] = []
    for number, row in sample("mathvista/testmini.excerpt.json").items():
        choices = row["choices"]
        rows.append(
            {
                "index": number,
                "question": row["query"],
                "answer": row["answer"],
                "question_type": row["question_type"],
                "answer_type": row["answer_type"],
                "choices": "" if choices is None else str(choices),
                "answer_option": "" if choices is None else "ABCDEFGH"[choices.index(row["answer"])],
                "task": row["metadata"]["task"],
                "skills": str(row["metadata"]["skills"]),
                "category": row["metadata"]["category"],
                "image": b64(png(int(number))),
            }
        )
    write(tmp_path / "MathVista_MINI.tsv", rows)
    suite = read_suite("MathVista_MINI", root=tmp_path)
    by_index = {line.index: line for line in suite.lines}
    # Row 99 asks with letters in another order than that of its choices.
    assert "(C) white one" in by_index["99"].text("question")
    assert by_index["99"].text("answer_option") == "D"
    answers = [Prediction(index=line.index, text=line.text("answer")) for line in suite.lines]
    scores = score_by_rules(suite, answers).whole
    readings = {reading.index: reading for reading in scores.readings}
    # Choice texts that hold one another (145°, 5, white one) are told apart; the list is never right.
    wrong = {index for index, reading in readings.items() if not reading.hit}
    assert wrong == {"506"}
    assert readings["13"].asks  # a right 0
    assert scores.overall.value == 11 / 12


def test_hallusionbench(tmp_path: Path) -> None:
    rows: list[Row] = []
    for place, row in enumerate(sample("hallusionbench/HallusionBench.json")):
        parts = (row["category"], row["subcategory"], row["visual_input"])
        numbers = (row["set_id"], row["figure_id"], row["question_id"])
        rows.append(
            {
                "index": "_".join((*parts, *numbers)),
                "question": row["question"],
                "answer": "Yes" if row["gt_answer"] == "1" else "No",
                "category": row["category"],
                "l2-category": row["subcategory"],
                "image": "" if row["filename"] is None else b64(png(place)),
            }
        )
    write(tmp_path / "HallusionBench.tsv", rows)
    suite = read_suite("HallusionBench", root=tmp_path)
    without = sum(not row["image"] for row in rows)
    assert (len(suite.lines), suite.table.without_image) == (40 - without, without)
    groups = score_by_rules(suite, [Prediction(index=line.index, text="Yes.") for line in suite.lines]).whole.groups
    measures = {(group.name, group.metric): group.measure for group in groups}
    yes = [line for line in suite.lines if line.text("answer") == "Yes"]
    assert measures["Overall", "aAcc"].value == pytest.approx(len(yes) / len(suite.lines))
    keys = {(line.text("l2-category"), *line.index.split("_")[3:5]) for line in suite.lines}
    assert measures["Overall", "fAcc"].n == len(keys)
    # Families are merged where their subcategory is the same: fewer figures in all than in both together.
    apart = measures["VS", "fAcc"].n + measures["VD", "fAcc"].n
    assert measures["Overall", "fAcc"].n == apart - 1
