"""A benchmark's pictures and questions held against those of training sets."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from stepsight.data.audit_pictures import alike, look_at
from stepsight.data.likeness import Fingerprint, fingerprint
from stepsight.data.row_pictures import check_folder_of_pictures
from stepsight.data.staged_rows import StagedRow
from stepsight.data.text_likeness import Asked, HeldQuestions
from stepsight.errors import InputError, PictureError, RecordError
from stepsight.evaluation.contamination.report import Contamination, Row, Seen, TrainingSet
from stepsight.evaluation.scoring.cells import Cell, said
from stepsight.evaluation.suites.lines import scan_pictures
from stepsight.evaluation.suites.rules import Line
from stepsight.evaluation.suites.suite import Suite
from stepsight.jsonl import scan_lines
from stepsight.pictures import load_picture
from stepsight.pictures_of_tsv import decode_picture

_SHOWN = 300
"""So many characters of a row's question are kept."""


def contamination(
    suite: Suite,
    train: Sequence[tuple[Path, Path]],
    *,
    workers: int = 1,
    progress: Callable[[str, int], None] = lambda what, done: None,
) -> Contamination:
    """Hold a benchmark against training sets.

    Args:
        suite: the benchmark.
        train: files of rows, each with the folder that its `image` paths start from.
        workers: threads that decode the training sets' pictures.
        progress: called with what is looked at and how many are done.

    Raises:
        InputError: no training set is given, there is no folder of pictures, or a picture beside the benchmark file
            is missing.
        RecordError: a file of rows cannot be read.
    """
    if not train:
        raise InputError("there is no training set to compare with", hint="name its rows with --train")
    for _, images in train:
        check_folder_of_pictures(images)
    unseen: dict[int, str] = {}
    shown = _shown(suite, unseen, progress)
    held = HeldQuestions([_asked(line) for line in suite.lines])
    found: dict[str, _Found] = {line.index: _Found() for line in suite.lines}
    sets = [
        _compare(suite, rows, images, shown, held, found, workers=workers, progress=progress) for rows, images in train
    ]
    return Contamination(
        dataset=suite.name,
        file=suite.file,
        questions=len(suite.lines),
        unseen=tuple(unseen[row] for row in sorted(unseen)),
        train=tuple(sets),
        seen=tuple(one.seen(index) for index, one in found.items() if one.rows),
    )


class _Found:
    """What was found for one question of the benchmark."""

    def __init__(self) -> None:
        self.pictures: dict[tuple[Path, int], tuple[Row, str]] = {}
        self.texts: dict[tuple[Path, int], tuple[Row, str, float]] = {}

    @property
    def rows(self) -> int:
        return len(self.pictures.keys() | self.texts.keys())

    def seen(self, index: str) -> Seen:
        both = [key for key in self.pictures if key in self.texts]
        by_picture = self.pictures[both[0]] if both else next(iter(self.pictures.values()), None)
        by_text = self.texts[both[0]] if both else next(iter(self.texts.values()), None)
        return Seen(
            index=index,
            kind="both" if both else "picture" if by_picture else "text",
            picture_row=by_picture and by_picture[0],
            picture=by_picture[1] if by_picture else "",
            text_row=by_text and by_text[0],
            said=by_text[1] if by_text else "",
            shared=by_text and by_text[2],
            rows=self.rows,
        )


Shown = Sequence[tuple[tuple[str, ...], Fingerprint]]


def _compare(
    suite: Suite,
    rows: Path,
    images: Path,
    shown: Shown,
    held: HeldQuestions,
    found: dict[str, _Found],
    *,
    workers: int,
    progress: Callable[[str, int], None],
) -> TrainingSet:
    # 1. Rows, one by one: their questions are compared, their pictures' names are kept.
    by_picture: defaultdict[str, list[Row]] = defaultdict(list)
    count = unread = 0
    for line, row in scan_lines(rows, StagedRow):
        count += 1
        progress("rows", count)
        if isinstance(row, RecordError):
            unread += 1
            continue
        placed = Row(file=rows, line=line, id=row.id)
        if row.image is not None:
            by_picture[row.image].append(placed)
        for question, _ in row.exchanges:
            for place, shared in held.held_by(question):
                texts = found[suite.lines[place].index].texts
                texts.setdefault((rows, line), (placed, question[:_SHOWN], shared))
    # 2. Pictures, each once.
    looked = look_at(images, list(by_picture), workers=workers, progress=lambda done: progress("pictures", done))
    for name, indices in alike(looked.prints, shown):
        for placed in by_picture[name]:
            for index in indices:
                found[index].pictures.setdefault((rows, placed.line), (placed, name))
    for one in found.values():
        one.pictures = dict(sorted(one.pictures.items(), key=lambda item: item[1][0].line))
    with rows.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return TrainingSet(
        file=rows, sha256=digest, rows=count, unread=unread, pictures=len(by_picture), unseen=len(looked.bad)
    )


def _shown(suite: Suite, unseen: dict[int, str], progress: Callable[[str, int], None]) -> Shown:
    """The fingerprints of the benchmark's pictures, each with the questions that show it."""
    by_row: defaultdict[int, list[str]] = defaultdict(list)
    for line in suite.lines:
        by_row[suite.table.owners.get(line.row, line.row)].append(line.index)
    found = []
    for done, (row, pictures) in enumerate(scan_pictures(suite.file.path, by_row, suite.beside), start=1):
        progress("pictures of the benchmark", done)
        for one in pictures:
            try:
                picture = (
                    load_picture(one) if isinstance(one, Path) else decode_picture(one, f"{suite.file.path}, row {row}")
                )
            except PictureError as error:
                unseen[row] = str(error)
                continue
            mark = fingerprint(picture)
            if mark is not None:
                found.append((tuple(by_row[row]), mark))
    return found


def _asked(line: Line) -> Asked:
    return Asked(line.text("question"), tuple(_written(line.cells[letter]) for letter in line.options))


def _written(cell: Cell) -> str:
    """An option as people write it: a number of a column with gaps is 4.0 in its table, and 4 everywhere else."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else said(cell)
