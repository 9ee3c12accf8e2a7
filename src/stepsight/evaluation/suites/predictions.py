"""Predictions in VLMEvalKit's own file format, which it scores again as if they were its own.

`<model>_<data set>.tsv` or `.xlsx` holds every column of the benchmark file but the pictures, and `prediction`. A TSV
file quotes everything, as pandas writes it for VLMEvalKit under `PRED_FORMAT=tsv`. A cell of an XLSX file holds 32,767
characters, the rest is cut off; so TSV is what we score by, and the better choice.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stepsight.errors import InputError, MissingExtraError
from stepsight.evaluation.scoring.cells import Cell, as_read, said
from stepsight.evaluation.suites.lines import lower
from stepsight.evaluation.suites.rules import Line
from stepsight.evaluation.suites.suite import Suite
from stepsight.files import whole_file
from stepsight.records import Finish, Record, Trace
from stepsight.stages import conclusion

PREDICTION = "prediction"
CELL = 32_767
"""So many characters a cell of an XLSX file holds."""
FORMATS = (".tsv", ".xlsx")

Which = Literal["whole", "conclusion"]
"""Which text of an answer is meant: all of it, tags included, or its CONCLUSION alone."""

_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Prediction(Record):
    """An answer to the row of that index: the whole text, and whether it was cut off at the limit of tokens."""

    index: str
    text: str
    truncated: bool = False

    def part(self, which: Which) -> str | None:
        """The text that is meant; None where the answer has no CONCLUSION."""
        return self.text if which == "whole" else conclusion(self.text)


@dataclass(frozen=True)
class Written:
    """A file of predictions: rows, of these the ones with an empty prediction, and texts that were cut off."""

    path: Path
    rows: int
    empty: int
    cut: int


def predictions_of(traces: Iterable[Trace]) -> list[Prediction]:
    """The answers of finished searches over a suite's questions.

    Raises:
        InputError: a trace is of no benchmark question.
    """
    found = []
    for trace in traces:
        index = trace.question.meta.get("index")
        if not isinstance(index, str):
            raise InputError(
                f"the question {trace.question.id} is of no benchmark", hint="give traces of a suite's questions"
            )
        by_id = {candidate.id: candidate for candidate in trace.candidates}
        last = by_id[trace.chosen[-1]] if trace.chosen else None
        cut = last is not None and last.finish is Finish.LENGTH
        found.append(Prediction(index=index, text=trace.text, truncated=cut))
    return found


def write_predictions(path: Path, suite: Suite, predictions: Sequence[Prediction], which: Which = "whole") -> Written:
    """Write the predictions of a suite, in the order of its rows; rows without a prediction are left out.

    Args:
        path: ends with `.tsv` or `.xlsx`; VLMEvalKit calls it `<model>_<data set>` (`file_name`).
        suite: the benchmark.
        predictions: at most one for each row.
        which: the whole answers, or their conclusions; an answer without a conclusion has an empty cell.

    Raises:
        InputError: the name ends otherwise, or a prediction is of no row, or of one that has another.
        MissingExtraError: for XLSX, the library that writes it is not installed.
    """
    by_index = match_lines(suite, predictions)
    lines = [line for line in suite.lines if line.index in by_index]
    texts = [by_index[line.index].part(which) or "" for line in lines]
    head = [*suite.table.columns, PREDICTION]
    names = [lower(name) for name in suite.table.columns]
    rows = [[*_cells(line, names), text] for line, text in zip(lines, texts, strict=True)]
    if path.suffix == ".tsv":
        _write_tsv(path, head, rows)
    elif path.suffix == ".xlsx":
        _write_xlsx(path, head, rows)
    else:
        raise InputError(f"predictions are not written as {path.name}", hint=f"use {' or '.join(FORMATS)}")
    cut = sum(len(text) > CELL for text in texts) if path.suffix == ".xlsx" else 0
    return Written(path, len(rows), sum(not text for text in texts), cut)


def file_name(model: str, dataset: str, suffix: str = ".tsv") -> str:
    """How VLMEvalKit calls the file of a model's predictions."""
    return f"{model.replace('/', '--')}_{dataset}{suffix}"


def read_predictions(path: Path) -> list[Prediction]:
    """Read a file of predictions, VLMEvalKit's or ours.

    Raises:
        InputError: the file cannot be read, or lacks the column `index` or `prediction`.
        MissingExtraError: for XLSX, the library that reads it is not installed.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"predictions are not read from {path.name}", hint=f"give a file {' or '.join(FORMATS)}")
    head, rows = _read_tsv(path) if path.suffix == ".tsv" else _read_xlsx(path)
    for column in ("index", PREDICTION):
        if column not in head:
            raise InputError(f"{path} has no column {column}", hint="give a file of predictions in VLMEvalKit's form")
    index, prediction = head.index("index"), head.index(PREDICTION)
    indices = as_read([row[index] for row in rows])
    return [Prediction(index=said(cell), text=row[prediction]) for cell, row in zip(indices, rows, strict=True)]


def match_lines(suite: Suite, predictions: Sequence[Prediction]) -> dict[str, Prediction]:
    """The predictions by index.

    Raises:
        InputError: one is of no row of the suite, or two are of the same.
    """
    known = {line.index for line in suite.lines}
    found: dict[str, Prediction] = {}
    for prediction in predictions:
        if prediction.index not in known:
            raise InputError(
                f"{suite.name} has no question {prediction.index} here", hint="give predictions of this benchmark"
            )
        if prediction.index in found:
            raise InputError(f"there are two predictions for {suite.name} {prediction.index}", hint="keep one of them")
        found[prediction.index] = prediction
    return found


def _cells(line: Line, names: Sequence[str]) -> list[Cell]:
    return [line.cells[name] for name in names]


def _write_tsv(path: Path, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    with whole_file(path) as stream:
        # Half a pair of surrogates, which a broken tokenizer may give, is no UTF-8.
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
        writer = csv.writer(text, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
        text.flush()
        text.detach()


def _write_xlsx(path: Path, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    openpyxl = _openpyxl()
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in (head, *rows):
        sheet.append([_xlsx_cell(openpyxl, sheet, cell) for cell in row])
    with whole_file(path) as stream:
        book.save(stream)


def _xlsx_cell(openpyxl: Any, sheet: Any, cell: Cell) -> Any:
    if not isinstance(cell, str):
        return None if isinstance(cell, float) and abs(cell) == float("inf") else cell
    # Excel's own way to write characters that its format forbids.
    plain = _NOT_IN_XML.sub(lambda found: f"_x{ord(found[0]):04X}_", cell)[:CELL]
    written = openpyxl.cell.WriteOnlyCell(sheet, plain)
    written.data_type = "s"  # or a text that begins with "=" would be a formula
    return written


def _read_tsv(path: Path) -> tuple[list[str], list[list[str]]]:
    csv.field_size_limit(min(sys.maxsize, 1 << 31 - 1))
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream, delimiter="\t") if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="give a file of predictions") from error
    return _shaped(path, rows)


def _read_xlsx(path: Path) -> tuple[list[str], list[list[str]]]:
    openpyxl = _openpyxl()
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # a broken archive makes the library raise almost anything
        raise InputError(f"{path} cannot be read: {error}", hint="give a file of predictions") from error
    rows = [[_text(value) for value in row] for row in book.active.iter_rows(values_only=True)]
    book.close()
    return _shaped(path, rows)


def _shaped(path: Path, rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    if not rows:
        raise InputError(f"{path} is empty", hint="give a file of predictions")
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(rows[0]):
            raise InputError(f"{path}, row {number}: it has not as many cells as the head", hint="write it again")
    return rows[0], rows[1:]


def _text(value: object) -> str:
    """A cell of an XLSX file as text; a whole number has no decimals there."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _openpyxl() -> Any:
    try:
        import openpyxl
        import openpyxl.cell
    except ImportError as error:
        raise MissingExtraError("openpyxl", "bench") from error
    return openpyxl
