"""What a teacher is to answer: one question with its known answer, and what its source says beyond that.

A lesson is read from a `Question`, whose `meta` may hold:

    row       the id of the row that the answer becomes part of (several turns about one picture); the question's own
    turn      which turn of that row it is, counted from 0; 0
    earlier   the turns before it, a list of [question, known answer]
    hints     texts that help the teacher, a list
    wording   the question with its choices in the source's own words; its text, and a line for each choice
    image     the picture's path below the folder of pictures, as the output names it; as the questions name it

`data.composing` writes such questions from the rows of public datasets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from stepsight.data.staged_rows import PLACEHOLDER
from stepsight.errors import InputError, RecordError
from stepsight.jsonl import scan_jsonl
from stepsight.prompts.answer import choice_letters, question_text
from stepsight.prompts.teacher import Exchange
from stepsight.records import Question


@dataclass(frozen=True)
class Lesson:
    """A question to be taught, at its place (from 0) among all of a run.

    `image` is its picture's name in the output, empty where there is none.
    """

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
        InputError: its answer is not known, it has too many choices or pictures, its picture's name leads out of the
            folder of pictures, or its `meta` is not as this file says.
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
    text, wording = _unmarked(question.text), _unmarked(str(meta.get("wording", question.text)))
    if not text or not wording:
        raise InputError(f"question {question.id} says nothing but {PLACEHOLDER}", hint="give it a text")
    worded = {"meta": {**meta, "wording": wording}} if "wording" in meta else {}
    choice_letters(question)  # more choices than letters are refused here, not in the middle of a run
    return Lesson(
        place=place,
        question=question.model_copy(update={"text": text, **worded}),
        answer=question.answer.strip(),
        row=str(meta.get("row", question.id)),
        turn=turn,
        earlier=earlier,
        hints=tuple(str(hint) for hint in hints),
        image=_picture(question),
    )


def _unmarked(text: str) -> str:
    """A text without marks of the picture's place: the picture comes first."""
    return text.replace(f"{PLACEHOLDER}\n", "").replace(f"\n{PLACEHOLDER}", "").replace(PLACEHOLDER, "").strip()


def _picture(question: Question) -> str:
    if not question.images:
        return ""
    if len(question.images) > 1:
        raise InputError(
            f"question {question.id} has {len(question.images)} pictures, and a row of the output names one",
            hint="leave it out, or keep the picture that it is about",
        )
    name = PurePosixPath(str(question.meta.get("image", question.images[0].as_posix())))
    if name.is_absolute() or ".." in name.parts or not name.parts:
        raise InputError(
            f"question {question.id} names its picture {name}, which leads out of the folder of pictures",
            hint="name it below a folder, and that folder with --images; or say in `meta.image` how rows name it",
        )
    return name.as_posix()


def read_lessons(path: Path, images: Path | None = None) -> Iterator[Lesson]:
    """The lessons of a JSON-lines file of questions, one at a time.

    A question names its picture as seen from the folder of the file. With `images` the picture is looked for there
    instead, by the name that it has in the output.

    Raises:
        RecordError: the file cannot be read, or a row is no question with a known answer; names the line's number.
    """
    for place, row in enumerate(scan_jsonl(path, Question)):
        if isinstance(row, RecordError):
            raise row
        try:
            lesson = lesson_of(row, place)
        except InputError as error:
            raise RecordError(f"{path}, question {place + 1}: {error.args[0]}", hint=error.hint) from error
        found = images / lesson.image if images is not None else path.parent.joinpath(*row.images)
        pictures = {"images": (found,)} if row.images else {}
        yield replace(lesson, question=lesson.question.model_copy(update=pictures))
