"""Files of predictions: VLMEvalKit's columns and spelling, read back as they were written."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.suites.files import ai2d_rows, hallusion_rows, mmstar_rows, staged, write, write_all

from stepsight.errors import InputError, MissingExtraError
from stepsight.evaluation.suites import (
    Prediction,
    Suite,
    predictions_of,
    read_predictions,
    read_suite,
    write_predictions,
    write_submission,
)
from stepsight.evaluation.suites.predictions import CELL, file_name
from stepsight.records import Candidate, Finish, Piece, Question, Trace, Usage
from stepsight.stages import Stage

ODD = 'He said "D"\tand\nleft; =1+1 \u00a0ünïcode \U0001f600'


def predictions(suite: Suite, text: str = "A") -> list[Prediction]:
    return [Prediction(index=line.index, text=text) for line in suite.lines]


@pytest.fixture
def star(tmp_path: Path) -> Suite:
    rows = [dict(row) for row in mmstar_rows(4)]
    for row, option in zip(rows, ("4", "", "5.50", "7"), strict=True):
        row["C"] = option
    write(tmp_path / "MMStar.tsv", rows)
    return read_suite("MMStar", root=tmp_path)


def test_a_tsv_file_is_byte_for_byte_what_pandas_would_write(star: Suite, tmp_path: Path) -> None:
    written = write_predictions(tmp_path / "m_MMStar.tsv", star, predictions(star, ODD))
    table = pd.read_csv(star.file.path, sep="\t").drop(columns="image")
    table["prediction"] = [ODD] * 4
    wanted = io.StringIO()
    table.to_csv(wanted, sep="\t", index=False, quoting=csv.QUOTE_ALL)
    assert (tmp_path / "m_MMStar.tsv").read_bytes().decode() == wanted.getvalue()
    assert (written.rows, written.empty, written.cut) == (4, 0, 0)
    assert '"4.0"' in wanted.getvalue()
    assert '"prediction"' in wanted.getvalue().splitlines()[0]


def test_an_xlsx_file_is_what_pandas_reads(star: Suite, tmp_path: Path) -> None:
    made = [Prediction(index=str(place), text=text) for place, text in enumerate([ODD, "=2+3", "B", "a\x01b"])]
    write_predictions(tmp_path / "m.xlsx", star, made)
    table = pd.read_excel(tmp_path / "m.xlsx")
    assert list(table.columns) == [*star.table.columns, "prediction"]
    assert table["prediction"].tolist() == [ODD, "=2+3", "B", "a_x0001_b"]
    assert table["C"].tolist()[0] == 4.0
    assert pd.isna(table["C"].tolist()[1])
    assert [one.text for one in read_predictions(tmp_path / "m.xlsx")] == table["prediction"].tolist()


def test_an_xlsx_cell_holds_32767_characters_and_what_is_cut_off_is_counted(star: Suite, tmp_path: Path) -> None:
    made = [Prediction(index="0", text="x" * (CELL + 5)), Prediction(index="1", text="y" * CELL)]
    assert write_predictions(tmp_path / "m.xlsx", star, made).cut == 1
    assert [len(one.text) for one in read_predictions(tmp_path / "m.xlsx")] == [CELL, CELL]
    assert write_predictions(tmp_path / "m.tsv", star, made).cut == 0
    assert len(read_predictions(tmp_path / "m.tsv")[0].text) == CELL + 5


@pytest.mark.parametrize("suffix", [".tsv", ".xlsx"])
def test_conclusions_alone_may_be_written(suffix: str, star: Suite, tmp_path: Path) -> None:
    made = [Prediction(index="0", text=staged("B")), Prediction(index="2", text="no tags")]
    written = write_predictions(tmp_path / f"m{suffix}", star, made, "conclusion")
    assert (written.rows, written.empty) == (2, 1)
    again = read_predictions(written.path)
    assert [(one.index, one.text) for one in again] == [("0", "B"), ("2", "")]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(TEXTS, min_size=4, max_size=4))
@settings(max_examples=30)
def test_any_text_comes_back_from_tsv(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    write(folder / "MMStar.tsv", mmstar_rows(4))
    suite = read_suite("MMStar", root=folder)
    made = [Prediction(index=str(place), text=text) for place, text in enumerate(texts)]
    write_predictions(folder / "m.tsv", suite, made)
    assert read_predictions(folder / "m.tsv") == made


def test_half_a_surrogate_pair_becomes_a_question_mark(star: Suite, tmp_path: Path) -> None:
    for suffix, wanted in ((".tsv", "a?b"), (".xlsx", "a_xD800_b")):
        write_predictions(tmp_path / f"m{suffix}", star, [Prediction(index="0", text="a\ud800b")])
        assert read_predictions(tmp_path / f"m{suffix}")[0].text == wanted


def test_indices_are_read_as_numbers_or_names(tmp_path: Path) -> None:
    write(tmp_path / "HallusionBench.tsv", hallusion_rows())
    suite = read_suite("HallusionBench", root=tmp_path)
    write_predictions(tmp_path / "m.tsv", suite, predictions(suite))
    assert [one.index for one in read_predictions(tmp_path / "m.tsv")] == [line.index for line in suite.lines]
    (tmp_path / "n.tsv").write_text("index\tprediction\n007\tA\n8\tB\n")
    assert [one.index for one in read_predictions(tmp_path / "n.tsv")] == ["7", "8"]


def test_files_of_another_form_are_refused(star: Suite, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not written as m\.csv \(use \.tsv or \.xlsx\)"):
        write_predictions(tmp_path / "m.csv", star, predictions(star))
    with pytest.raises(InputError, match=r"not read from m\.pkl"):
        read_predictions(tmp_path / "m.pkl")
    with pytest.raises(InputError, match="cannot be read"):
        read_predictions(tmp_path / "m.tsv")
    (tmp_path / "m.tsv").write_text("")
    with pytest.raises(InputError, match="is empty"):
        read_predictions(tmp_path / "m.tsv")
    (tmp_path / "m.tsv").write_text("index\tanswer\n1\tA\n")
    with pytest.raises(InputError, match="no column prediction"):
        read_predictions(tmp_path / "m.tsv")
    (tmp_path / "m.tsv").write_text("index\tprediction\n1\n")
    with pytest.raises(InputError, match="row 1: it has not as many cells"):
        read_predictions(tmp_path / "m.tsv")
    (tmp_path / "m.xlsx").write_text("no archive")
    with pytest.raises(InputError, match="cannot be read"):
        read_predictions(tmp_path / "m.xlsx")


def test_without_its_library_xlsx_names_the_extra(star: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'stepsight\[bench\]'"):
        write_predictions(tmp_path / "m.xlsx", star, predictions(star))
    assert not (tmp_path / "m.xlsx").exists()


def test_files_are_named_as_vlmevalkit_names_them() -> None:
    assert file_name("pico@stage-beam:4", "MMStar") == "pico@stage-beam:4_MMStar.tsv"
    assert file_name("Xkev/LLaVA-CoT", "MMVet", ".xlsx") == "Xkev--LLaVA-CoT_MMVet.xlsx"


def trace(question: Question, text: str, finish: Finish = Finish.STOP) -> Trace:
    return Trace(
        question=question,
        strategy="greedy",
        judge=None,
        seed=0,
        settings={},
        candidates=(
            Candidate(id=0, stage=Stage.SUMMARY, slot=0, seed=0, piece=Piece(text=text), finish=finish, tokens=3),
        ),
        verdicts=(),
        chosen=(0,),
        usage=Usage(),
        seconds=0.0,
    )


def test_traces_become_predictions(star: Suite) -> None:
    one, two, *_ = star.questions()
    made = predictions_of([trace(one, staged("C")), trace(two, "<SUMMARY> It", Finish.LENGTH)])
    assert made == [
        Prediction(index="0", text=staged("C")),
        Prediction(index="1", text="<SUMMARY> It", truncated=True),
    ]
    with pytest.raises(InputError, match="the question q is of no benchmark"):
        predictions_of([trace(Question(id="q", text="?"), "x")])


# For MMBench's server


def test_a_submission_holds_every_row_and_its_conclusion(tmp_path: Path) -> None:
    suite = read_suite("MMBench_TEST_EN_V11", root=write_all(tmp_path))
    made = [Prediction(index=line.index, text=staged("B")) for line in suite.lines]
    made[3] = Prediction(index=made[3].index, text="no tags")
    written = write_submission(tmp_path / "out.xlsx", suite, made)
    assert (written.rows, written.empty) == (12, 1)
    book = openpyxl.load_workbook(tmp_path / "out.xlsx")
    head, *rows = book.active.iter_rows(values_only=True)
    assert {"index", "question", "A", "B", "C", "D", "hint", "prediction"} <= set(head)
    assert not {"answer", "image"} & set(head)
    assert [row[head.index("index")] for row in rows][:4] == [0, 1, 2, 1_000_000]
    assert [row[head.index("prediction")] for row in rows] == ["B", "B", "B", None, *["B"] * 8]
    whole = write_submission(tmp_path / "out.tsv", suite, made, "whole")
    assert [one.text for one in read_predictions(whole.path)] == [one.text for one in made]


def test_a_submission_must_be_whole_and_of_mmbench(tmp_path: Path) -> None:
    suite = read_suite("MMBench_TEST_EN_V11", root=write_all(tmp_path))
    made = predictions(suite)
    with pytest.raises(InputError, match="2 of 12 questions of MMBench_TEST_EN_V11 have no prediction"):
        write_submission(tmp_path / "out.xlsx", suite, made[2:])
    part = suite.first(1)
    with pytest.raises(InputError, match="these are 4 of 12 questions"):
        write_submission(tmp_path / "out.xlsx", part, predictions(part))
    other = read_suite("AI2D_TEST", root=tmp_path)
    with pytest.raises(InputError, match="AI2D_TEST is not handed in"):
        write_submission(tmp_path / "out.xlsx", other, predictions(other))
    assert not (tmp_path / "out.xlsx").exists()
    assert len(ai2d_rows()) == len(other.lines)
