"""Scores equal VLMEvalKit's: what its own functions gave for the prediction files that we write was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.recorded.reading import recorded
from tests.evaluation.suites.files import b64, png, write

from stepsight.evaluation.scoring.readings import Ask
from stepsight.evaluation.suites import Prediction, Suite, read_suite, score, score_by_rules

TABLES = recorded("tables")


def tables(kind: str, folder: Path) -> Iterator[tuple[dict[str, Any], Suite, list[Prediction]]]:
    """Each recorded table of that kind, written as a benchmark file and read again; pictures do not matter here."""
    found = [record for record in TABLES if record["kind"] == kind]
    assert len(found) >= 16
    for number, record in enumerate(found):
        rows = [dict(zip(record["columns"], row, strict=True)) for row in record["rows"]]
        for place, row in enumerate(rows):
            if row["image"] == "own":
                row["image"] = b64(png(place))
        write(folder / str(number) / f"{record['benchmark']}.tsv", rows)
        suite = read_suite(record["benchmark"], root=folder / str(number))
        yield record, suite, [Prediction(index=index, text=text) for index, text in record["predictions"]]


def exact(record: dict[str, Any], suite: Suite, predictions: list[Prediction], metric: str) -> dict[str, float | None]:
    scores = score_by_rules(suite, predictions)
    result = scores.whole if record["which"] == "whole" else scores.conclusion
    assert result is not None
    assert result.exact is not None
    return {group.name: group.measure.value for group in result.exact if group.metric == metric}


def check_shares(kind: str, folder: Path) -> None:
    for record, suite, predictions in tables(kind, folder):
        ours, theirs = exact(record, suite, predictions, "acc"), record["theirs"]["acc"]
        assert {name: ours[name] for name in theirs} == pytest.approx(theirs)
        assert "Overall" in theirs


def check_percents(kind: str, folder: Path) -> None:
    for record, suite, predictions in tables(kind, folder):
        for metric, theirs in record["theirs"].items():
            ours = exact(record, suite, predictions, metric)
            assert {name: 100 * (value or 0) for name, value in ours.items()} == pytest.approx(theirs)


def test_plain_multiple_choice(tmp_path: Path) -> None:
    check_shares("plain", tmp_path)


def test_circular_multiple_choice(tmp_path: Path) -> None:
    check_shares("circular", tmp_path)


def test_numbers_as_options_are_matched_as_pandas_reads_them(tmp_path: Path) -> None:
    check_shares("numbers", tmp_path)


def test_hallusionbench(tmp_path: Path) -> None:
    check_percents("yes-no", tmp_path)


def test_mathvista_with_a_judge_that_returns_every_text_unchanged(tmp_path: Path) -> None:
    check_percents("values", tmp_path)


async def test_mmvet_with_a_judge(tmp_path: Path) -> None:
    async def judge(ask: Ask) -> str | None:
        return ask.prediction  # the recorded predictions are the grades that were given

    for record, suite, predictions in tables("grades", tmp_path):
        groups = (await score(suite, predictions, judge)).whole.groups
        for kind, theirs in record["theirs"].items():
            ours = {group.name: 100 * (group.measure.value or 0) for group in groups if group.kind in (kind, "overall")}
            assert ours == pytest.approx(theirs)
