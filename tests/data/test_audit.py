"""The audit finds each kind of fault that was put in, in the rows where it was put, and nothing else."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image
from tests.data.datasets import answer, pairs, row, save, write_pictures
from tests.test_pictures_of_tsv import tsv

from stepsight.data.audit import audit, headline
from stepsight.data.audit_report import ALLOWED, AuditReport, Kind, allowances
from stepsight.errors import InputError


def lines(report: AuditReport, kind: Kind) -> list[int]:
    return [finding.line for finding in report.findings if finding.kind is kind]


def sound(count: int) -> list[dict[str, object]]:
    """Rows that differ in their questions, with stages of slightly different lengths."""
    return [
        row(str(n), question=f"How many {n}?", reply=answer(reasoning="I look. " + "One more. " * (20 + n % 7)))
        for n in range(count)
    ]


def test_a_clean_dataset_is_clean(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "images")
    rows = sound(20)
    rows[3]["image"], rows[5]["image"] = "sound.png", "other.png"
    report = audit(save(tmp_path / "train.jsonl", *rows), images)
    assert report.clean
    assert set(report.counts.values()) == {0}
    assert (report.rows, report.turns, report.pictures) == (20, 20, 2)
    assert report.sources == {"text only": 18, "no folder": 2}
    assert report.spreads["REASONING"].count == 20
    assert AuditReport.model_validate_json(report.model_dump_json()) == report
    assert list(headline(report))[-1] == "clean"


def test_each_fault_is_found_where_it_is(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "images")
    with Image.open(images / "sound.png") as picture:
        picture.resize((300, 300)).convert("RGB").save(images / "again.jpg", quality=70)
    rows: list[object] = [
        *sound(20),  # lines 1 to 20
        "{",
        row("21", question="How many 21?", reply=answer().replace("</CAPTION>", "")),
        row("gone", question="a", image="gone.png"),
        row("zero", question="b", image="empty.png"),
        row("cut", question="c", image="cut.png"),
        row("out", question="d", image="../x.png"),
        row("leak", question="e", reply=answer("21", summary="The answer is 21.")),
        row("hint", question="f", reply=answer("1,240", summary="I will look for 1,240 there.")),
        row("5", question="g"),
        row("same", question="How many 5?  "),
        row("first", question="h", image="sound.png"),
        row("twin", question="H!", image="again.jpg"),
        row("long", question="i", reply=answer(reasoning="One more. " * 3000)),
        {"id": "turns", "conversations": pairs("j", answer(), "J", answer())},
    ]
    report = audit(save(tmp_path / "train.jsonl", *rows), images, workers=2)
    expected = {
        Kind.MALFORMED_ROW: [21],
        Kind.FORMAT: [22],
        Kind.PICTURE_MISSING: [23],
        Kind.PICTURE_EMPTY: [24],
        Kind.PICTURE_BROKEN: [25],
        Kind.PICTURE_OUTSIDE: [26],
        Kind.LEAK: [27],
        Kind.LEAK_SUSPECTED: [28],
        Kind.ID_TWICE: [29],
        Kind.QUESTION_TWICE: [30, 32, 34],
        Kind.TWIN_PICTURE: [31, 32],
        Kind.BENCHMARK_PICTURE: [],
    }
    assert {kind: lines(report, kind) for kind in expected} == expected
    assert 33 in lines(report, Kind.OUTLIER)
    assert not set(lines(report, Kind.OUTLIER)) & set(range(1, 21))
    assert report.format_faults == {"unclosed CAPTION": 1}
    assert not report.clean
    assert Kind.LEAK in report.above
    details = {finding.kind: finding.detail for finding in report.findings}
    assert details[Kind.TWIN_PICTURE] == "again.jpg looks like sound.png"
    assert details[Kind.LEAK] == "reply 1: SUMMARY states it: The answer is 21"


def test_pictures_of_benchmarks_are_found(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "images")
    stream = io.BytesIO()
    with Image.open(images / "other.png") as picture:
        picture.convert("RGB").resize((180, 180)).save(stream, "JPEG", quality=60)
    encoded = base64.b64encode(stream.getvalue()).decode()
    cells: list[dict[str, object]] = [
        {"index": "q7", "question": "?", "image": encoded},
        {"index": "q8", "question": "?", "image": "q7"},
    ]
    bench = tsv(tmp_path / "Bench.tsv", cells)
    rows = [row("a", image="sound.png"), row("b", image="other.png"), row("c", image="other.png", question="x")]
    path = save(tmp_path / "train.jsonl", *rows)
    report = audit(path, images, benchmarks=[bench])
    assert lines(report, Kind.BENCHMARK_PICTURE) == [2, 3]
    assert report.findings[0].detail == "other.png looks like Bench.tsv, row q7"
    assert report.benchmarks[0].pictures == 1
    broken = tsv(tmp_path / "Broken.tsv", [{"index": 1, "question": "?", "image": "!" * 99}])
    report = audit(path, images, benchmarks=[broken])
    assert report.counts[Kind.BENCHMARK_PICTURE] == 0
    assert not report.clean, "rows that could not be compared are not clean"
    named = tmp_path / "Named.tsv"
    named.write_text("index\timage_path\n1\tother.png\n")
    with pytest.raises(InputError, match=r"Named\.tsv names its pictures and does not hold them"):
        audit(path, images, benchmarks=[named])


def test_what_is_allowed_is_a_share_of_the_rows(tmp_path: Path) -> None:
    rows = [*sound(9), row("x", reply="4")]
    path = save(tmp_path / "train.jsonl", *rows)
    assert audit(path, tmp_path).above == (Kind.FORMAT,)
    assert audit(path, tmp_path, allowed=allowances({"format": 0.1})).clean
    assert not audit(path, tmp_path, allowed=allowances({"format": 0.09})).clean
    assert allowances({})[Kind.OUTLIER] == ALLOWED[Kind.OUTLIER]
    with pytest.raises(InputError, match="no kind of finding 'x'"):
        allowances({"x": 0.1})
    with pytest.raises(InputError, match="no share"):
        allowances({"format": 2})


def test_findings_beyond_those_kept_are_counted(tmp_path: Path) -> None:
    report = audit(save(tmp_path / "train.jsonl", *["{"] * 30), tmp_path, kept=4)
    assert report.counts[Kind.MALFORMED_ROW] == 30
    assert len(report.findings) == 4
