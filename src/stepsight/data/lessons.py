"""What a teacher is to answer: one question with its known answer, and what its source says beyond that.

A lesson is read from a `Question`, whose `meta` may hold:

    row       the id of the row that the answer becomes part of (several turns about one picture); the question's own
    turn      which turn of that row it is, counted from 0; 0
    earlier   the turns before it, a list of [question, known answer]
    hints     texts that help the teacher, a list
    image     the picture's path as the output is to name it; as the questions name it
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from stepsight.errors import InputError, RecordError
from stepsight.jsonl import scan_jsonl
from stepsight.prompts.answer import question_text
from stepsight.prompts.teacher import Exchange
from stepsight.records import Question

_IMAGE_TOKEN = "<image>"


@dataclass(frozen=True)
class Lesson:
    """A question to be taught, at its place (from 0) among all of a run. `image` is its name in the output."""

    place: int
    question: Question
    answer: str
    row: str
    turn: int = 0
    earlier: tuple[Exchange, ...] = ()
    hints: tuple[str, ...] = ()
    image: str = ""

    @property
    def human(self) -> str:
        """The human turn of the output: the question with its choices."""
        return question_text(self.question)

    @property
    def digest(self) -> str:
        """A hash of all that a teacher is told; pictures by name, as they may move to another folder."""
        said = [self.question.id, self.human, self.answer, self.row, self.turn, self.image]
        said += [[one.question, one.answer] for one in self.earlier]
        return hashlib.sha256(json.dumps([*said, *self.hints]).encode("ascii")).hexdigest()[:32]


def lesson_of(question: Question, place: int = 0) -> Lesson:
    """The lesson that a question is.

    Raises:
        InputError: its answer is not known, it has too many choices, or its `meta` is not as this file says.
    """
    if question.answer is None or not question.answer.strip():
        raise InputError(f"question {question.id} has no known answer", hint="only answered questions can be taught")
    meta = question.meta
    try:
        earlier = tuple(Exchange(str(asked), str(answered)) for asked, answered in meta.get("earlier", ()))
        turn = int(meta.get("turn", 0))
    except (TypeError, ValueError):
        raise InputError(
            f"question {question.id}: meta.earlier or meta.turn cannot be read",
            hint="earlier is a list of [question, answer], turn a number from 0",
        ) from None
    hints = meta.get("hints", ())
    if not isinstance(hints, list | tuple):
        raise InputError(f"question {question.id}: meta.hints is no list", hint="give a list of texts")
    text = question.text.replace(f"{_IMAGE_TOKEN}\n", "").replace(f"\n{_IMAGE_TOKEN}", "").replace(_IMAGE_TOKEN, "")
    if not text.strip():
        raise InputError(f"question {question.id} says nothing but {_IMAGE_TOKEN}", hint="give it a text")
    question_text(question)  # more choices than letters are refused here, not in the middle of a run
    named = question.images[0].as_posix() if question.images else ""
    return Lesson(
        place=place,
        question=question.model_copy(update={"text": text.strip()}),
        answer=question.answer.strip(),
        row=str(meta.get("row", question.id)),
        turn=turn,
        earlier=earlier,
        hints=tuple(str(hint) for hint in hints),
        image=str(meta.get("image", named)),
    )


def read_lessons(path: Path, images: Path | None = None) -> Iterator[Lesson]:
    """The lessons of a JSON-lines file of questions, one at a time; pictures stand under `images`, or beside the file.

    Raises:
        RecordError: the file cannot be read, or a row is no question with a known answer; names the line's number.
    """
    root = path.parent if images is None else images
    for place, row in enumerate(scan_jsonl(path, Question)):
        if isinstance(row, RecordError):
            raise row
        try:
            lesson = lesson_of(row, place)
        except InputError as error:
            raise RecordError(f"{path}, question {place + 1}: {error.args[0]}", hint=error.hint) from error
        found = tuple(root / name for name in row.images)
        yield replace(lesson, question=lesson.question.model_copy(update={"images": found}))
