"""What a training recipe may say of its data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from stepsight.errors import InputError
from stepsight.prompts.judge import judge_prompts
from stepsight.recipes import Recipe
from stepsight.world.lessons import LessonKind


class Marks(Recipe):
    """How marks on judged texts count in the loss.

    `weight` is that of their mean loss; `wrong` what a wrong word counts against a right one, of which there are more;
    `layers_left` how many layers of the text model are left, behind the one that marks are read from, for the verdict.
    """

    weight: float = Field(default=1.0, gt=0)
    wrong: float = Field(default=5.0, gt=0)
    layers_left: int = Field(default=1, ge=0)


class WorldLessons(Recipe):
    """Lessons drawn from the world while training goes on.

    `mixture` says how often each kind of lesson is given; `seed` which lessons; `verdict_weight` what one verdict
    counts in the loss against a token of an answer, `option_weight` what each token counts where options are gone
    through; `marks` how marks on judged texts count in the loss (without it none are made); `muddled` in which share of
    judging lessons a text is wrong in many places instead of one; `crowded` in which share of them the scene is among
    the fullest, so that texts are long; `faults` whether the other texts go wrong in `every` way alike, as a pico that
    answers well does itself (`own`), or as it does on longer lists than it knows (`long`); `stretched` in which share
    of all lessons the positions of tokens have gaps, so that texts longer than those of the lessons are no surprise;
    `judge_prompts` in which words judging is taught.
    """

    mixture: dict[LessonKind, Annotated[float, Field(ge=0)]] = Field(min_length=1)
    seed: int = 0
    verdict_weight: float = Field(default=8.0, gt=0)
    option_weight: float = Field(default=1.0, gt=0)
    marks: Marks | None = None
    muddled: float = Field(default=0.0, ge=0, le=1)
    crowded: float = Field(default=0.0, ge=0, le=1)
    faults: Literal["every", "own", "long"] = "every"
    stretched: float = Field(default=0.0, ge=0, le=1)
    judge_prompts: str = "short-2"

    @field_validator("mixture")
    @classmethod
    def _something(cls, mixture: dict[LessonKind, float]) -> dict[LessonKind, float]:
        if not any(mixture.values()):
            raise ValueError("every weight is 0; give at least one kind of lesson a weight")
        return mixture

    @field_validator("judge_prompts")
    @classmethod
    def _known(cls, version: str) -> str:
        try:
            judge_prompts(version)
        except InputError as error:
            raise ValueError(str(error)) from error
        return version


class StagedRows(Recipe):
    """Rows of a JSON-lines or parquet file in the public dataset's format (`id`, `image`, `conversations`).

    `images` is the folder that a row's `image` starts from; `seed` decides the order of rows, new in every epoch.
    `context` is the most tokens a row may have, its picture's included; one that is longer is cut behind them, or left
    out, as `too_long` says, and counted. `packed` puts rows behind one another up to `context` instead of padding them,
    where the model's family allows that exactly; `sorted_by_length` gives rows of like length to a batch, so that
    little of it is padding.
    """

    rows: Path
    images: Path
    seed: int = 0
    context: int | None = Field(default=None, gt=0)
    too_long: Literal["cut", "leave_out"] = "cut"
    packed: bool = False
    sorted_by_length: bool = True

    @model_validator(mode="after")
    def _bounded(self) -> StagedRows:
        if self.packed and self.context is None:
            raise ValueError("packed needs a context: rows are put behind one another up to so many tokens")
        return self


class GradedAnswers(Recipe):
    """Answers graded by the world, from which a reward model learns whether each stage is right.

    `traces` are files of `stepsight eval` on questions of the world, in which a model has written many answers a
    question; `faulty` is the share of their rows drawn from answers in which some stage is wrong. `spoiled` is the
    share of all rows that the world writes instead, mostly with a stage made wrong (see `WorldLessons` for `crowded`,
    `muddled`, `faults` and `stretched`). `captions` is the share of rows that end with their CAPTION: where seeing is
    the hard part, more of it is seen in the same time. `words` are what the model is to go on with behind a stage that
    is right, or wrong; `end_weight` what the end of a stage counts in the loss against a word on the way, `wrong` what
    a wrong mark counts against a right one.
    """

    traces: list[Path] = Field(default_factory=list)
    faulty: float = Field(default=0.5, ge=0, le=1)
    spoiled: float = Field(default=0.5, ge=0, le=1)
    crowded: float = Field(default=0.0, ge=0, le=1)
    muddled: float = Field(default=0.3, ge=0, le=1)
    faults: Literal["every", "own", "long"] = "own"
    stretched: float = Field(default=0.0, ge=0, le=1)
    captions: float = Field(default=0.0, ge=0, le=1)
    words: tuple[str, str] = (" yes", " no")
    end_weight: float = Field(default=5.0, gt=0)
    wrong: float = Field(default=2.0, gt=0)
    seed: int = 0

    @model_validator(mode="after")
    def _something(self) -> GradedAnswers:
        if self.spoiled < 1 and not self.traces:
            raise ValueError("without traces all rows are spoiled: name traces, or set spoiled to 1")
        return self
