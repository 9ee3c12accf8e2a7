"""What a study's recipe says: questions, seeds, and the arms that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from stepsight.errors import StepsightError
from stepsight.protocols import Budget, SearchSettings
from stepsight.recipes import Recipe
from stepsight.search import is_judged, strategy
from stepsight.search.checks import check_settings
from stepsight.search.constants import with_constants


class Drawn(Recipe):
    """Questions of the drawn world: the first `count` of a split under a seed (see `stepsight draw`)."""

    split: str = "hard"
    seed: int
    count: int = Field(gt=0)


class ArmRecipe(Recipe):
    """One arm, or several: of each key that holds a list, every value is combined with every other."""

    search: str
    width: int | list[int] = 4
    judge: str | list[str] = "self"
    survivors: int | list[int] = 1
    temperature: float | list[float] = 0.6
    budget_tokens: int | list[int | None] | None = None
    constants: list[str] = Field(default_factory=list)


class Claim(Recipe):
    """That one arm is more accurate than another, each by its name; to be told by their paired difference."""

    above: str
    below: str


class StudyRecipe(Recipe):
    """A whole study. `questions` is a file, or what to draw; `model` a name that `ask --model` takes, run in as many
    `replicas` as are wanted. `claims` are tested.

    Every arm answers every question once for each of `seeds`. With `derive` an arm whose answers a wider one draws too
    is taken from that one instead of being run, which costs no generation and leaves its seconds unknown.
    """

    questions: Path | Drawn
    model: str = "pico"
    seeds: list[int] = Field(default=[0], min_length=1)
    arms: list[ArmRecipe] = Field(min_length=1)
    claims: list[Claim] = Field(default_factory=list)
    concurrency: int = Field(default=32, gt=0)
    replicas: int = Field(default=1, gt=0)
    derive: bool = True
    out: Path

    @model_validator(mode="after")
    def _sound(self) -> StudyRecipe:
        check_arms(self.arms, self.claims)
        return self

    def all_arms(self) -> list[Arm]:
        """The arms, lists multiplied out."""
        return spread(self.arms)


class Arm(Recipe):
    """One way to search."""

    search: str
    width: int
    judge: str
    survivors: int
    temperature: float
    budget_tokens: int | None
    constants: tuple[str, ...]

    @property
    def judged(self) -> bool:
        """Whether a judge is asked."""
        return is_judged(self.search, self.width, self.judge)

    @property
    def name(self) -> str:
        """What tables call it, and its folder."""
        parts = [self.search]
        if self.search not in ("greedy", "swires", "adaptive"):
            parts.append(str(self.width))
        if self.judged:
            parts.append(self.judge)
        if self.survivors != 1:
            parts.append(f"{self.survivors}-survivors")
        if self.temperature != 0.6:
            parts.append(f"t{self.temperature:g}")
        if self.budget_tokens is not None:
            parts.append(f"{self.budget_tokens}-tokens")
        parts += [word.replace("=", "-") for word in self.constants]
        return "-".join(parts)

    def settings(self, seed: int) -> SearchSettings:
        """What the strategy gets."""
        made = SearchSettings(
            width=self.width,
            temperature=self.temperature,
            seed=seed,
            survivors=self.survivors,
            budget=Budget(tokens=self.budget_tokens),
        )
        return with_constants(made, self.constants)


def spread(recipes: Sequence[ArmRecipe]) -> list[Arm]:
    """All arms, lists multiplied out."""
    return [arm for recipe in recipes for arm in _spread(recipe)]


def check_arms(recipes: Sequence[ArmRecipe], claims: Sequence[Claim] = ()) -> None:
    """Make sure that arms differ in their names, can be run, and are those that claims are about.

    Raises:
        ValueError: they are not; for the validators of recipes.
    """
    arms = spread(recipes)
    names = [arm.name for arm in arms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"arms are given twice: {', '.join(twice)}")
    strangers = sorted({one for claim in claims for one in (claim.above, claim.below)} - set(names))
    if strangers:
        raise ValueError(f"claims name arms that are not there: {', '.join(strangers)}; arms: {', '.join(names)}")
    for arm in arms:
        try:
            strategy(arm.search)
            check_settings(arm.settings(0))
        except StepsightError as error:
            raise ValueError(f"{arm.name}: {error}") from error


def _spread(recipe: ArmRecipe) -> list[Arm]:
    keys: dict[str, list[Any]] = {}
    for key in ("width", "judge", "survivors", "temperature", "budget_tokens"):
        value = getattr(recipe, key)
        keys[key] = value if isinstance(value, list) else [value]
    return [
        Arm(search=recipe.search, constants=tuple(recipe.constants), **dict(zip(keys, values, strict=True)))
        for values in product(*keys.values())
    ]
