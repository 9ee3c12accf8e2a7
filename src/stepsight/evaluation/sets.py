"""Sets of questions by name: those of a file, or drawn from the world."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from stepsight.pictures import check_picture
from stepsight.recipes import Recipe
from stepsight.records import Question
from stepsight.world.questions import MULTI_STEP
from stepsight.world.split import load_questions, save_split

QUESTIONS = "questions.jsonl"
"""The file that `save_split` writes."""


class QuestionSet(Recipe):
    """Questions to measure with: those of a `file`, or the first `count` that a `split` of the world draws by a `seed`.

    `families` leaves out, of drawn ones, those whose answer takes a single step.
    """

    name: str = Field(min_length=1, pattern=r"^[\w.-]+$")
    file: Path | None = None
    split: Literal["test", "hard"] | None = None
    seed: int = 0
    count: int | None = Field(default=None, gt=0)
    families: Literal["all", "multi-step"] = "all"

    @model_validator(mode="after")
    def _one_of_two(self) -> QuestionSet:
        if (self.file is None) == (self.split is None):
            raise ValueError("give either a file or a split")
        if self.split is not None and self.count is None:
            raise ValueError("a split has no end: give a count")
        if self.file is not None and self.families != "all":
            raise ValueError("families are those of a split")
        return self

    @property
    def described(self) -> str:
        """What it is, in words."""
        if self.file is not None:
            return f"{self.file}" + (f", the first {self.count:,}" if self.count else "")
        which = " of the multi-step families" if self.families == "multi-step" else ""
        return f"{self.count:,} questions of `{self.split}`{which}, seed {self.seed}"


def questions_of(wanted: QuestionSet, folder: Path) -> list[Question]:
    """The questions of a set; those that are drawn, and their pictures, are kept in `folder`, which is that set's own.

    Raises:
        InputError: the file holds no question.
        PictureError: a picture is missing or damaged.
    """
    path = wanted.file or folder / QUESTIONS
    if wanted.file is None and not path.is_file():
        assert wanted.split is not None
        assert wanted.count is not None
        families = MULTI_STEP if wanted.families == "multi-step" else ()
        save_split(wanted.split, seed=wanted.seed, count=wanted.count, out=folder, families=families)
    questions = load_questions(path)[: wanted.count]
    for picture in dict.fromkeys(image for question in questions for image in question.images):
        check_picture(picture)
    return questions
