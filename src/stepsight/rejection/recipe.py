"""What a recipe of `stepsight improve` says: the model, what it is asked, what is kept, and how it learns from that."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from stepsight.evaluation.sets import QuestionSet
from stepsight.recipes import Recipe
from stepsight.rejection.selecting import Selection
from stepsight.study.recipe import Arm, ArmRecipe, check_arms, spread


class Asked(Recipe):
    """Questions to learn from: a `file`, or so many of the world's training split, drawn anew in every round.

    `crowded` draws only scenes with as many objects as the split has at most, or one less.
    """

    file: Path | None = None
    seed: int = 0
    count: int | None = Field(default=None, gt=0)
    crowded: bool = False

    @model_validator(mode="after")
    def _one_of_two(self) -> Asked:
        if self.file is None and self.count is None:
            raise ValueError("give a file, or how many to draw")
        if self.file is not None and self.crowded:
            raise ValueError("crowded is for what is drawn")
        return self


class Original(Recipe):
    """Rows that are mixed in: `share` of all rows of a round, drawn by the world's teacher, or out of a dataset."""

    share: float = Field(gt=0, lt=1)
    rows: Path | None = None
    images: Path | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _fits(self) -> Original:
        if self.images is not None and self.rows is None:
            raise ValueError("images are those of rows")
        return self


class ImproveRecipe(Recipe):
    """Rejection-sampled fine-tuning in rounds.

    In each round the model of the round before answers `questions` by `search`, every answer written is looked at,
    `select` says what is kept, and a model is trained on that, `original` rows mixed in, by the recipe `train` (its
    path starts from the folder of this one; its rows, seed, beginning and folder are filled in). Training begins from
    the `last` round's model, or in every round from the `start`. All models, the one of the start included, answer
    `sets` by `answers`. `reward` is the reward model of the judge `reward`; pico's own unless given.
    """

    model: str = "pico"
    rounds: int = Field(default=1, gt=0)
    questions: Asked
    search: ArmRecipe
    select: Selection = Selection()
    original: Original | None = None
    train: Path
    begin: Literal["last", "start"] = "last"
    sets: list[QuestionSet] = Field(min_length=1)
    answers: list[ArmRecipe] = Field(default=[ArmRecipe(search="greedy")], min_length=1)
    reward: str = ""
    seed: int = 0
    concurrency: int = Field(default=48, gt=0)
    out: Path

    @model_validator(mode="after")
    def _sound(self) -> ImproveRecipe:
        check_arms([self.search])
        check_arms(self.answers)
        if len(spread([self.search])) != 1:
            raise ValueError("one search writes the answers to learn from; lists belong to `answers`")
        names = [one.name for one in self.sets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"sets are given twice: {', '.join(twice)}")
        if self.select.by == "judge" and not self.writes.judged:
            raise ValueError("a judge confirms, and the search asks none: name a search and a judge whose scores count")
        return self

    @property
    def writes(self) -> Arm:
        """The search whose answers are learned from."""
        return spread([self.search])[0]
