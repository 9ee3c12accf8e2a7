"""What a recipe of `stepsight reproduce` says: rows, the models that are trained on them, what they are asked."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from stepsight.data.ablations import Form
from stepsight.evaluation.sets import QuestionSet
from stepsight.recipes import Recipe
from stepsight.study.recipe import Arm, ArmRecipe, Claim, check_arms, spread

LLAVA_COT = "llava-cot"
"""What the arm that is trained on staged rows as they are is called, unless it is given a name."""


class DrawnRows(Recipe):
    """The first `count` questions of the world's training split under a `seed`, as staged rows by its teacher."""

    seed: int
    count: int = Field(gt=0)


class TrainedArm(Recipe):
    """One way to train: the `form` of its rows, and `changes` to the recipe, such as `optimisation.batch=64`."""

    form: Form
    name: str = Field(default="", pattern=r"^[\w.-]*$")
    changes: list[str] = Field(default_factory=list)

    @property
    def called(self) -> str:
        """Its name; without one that of its form."""
        return self.name or (LLAVA_COT if self.form is Form.STAGED else self.form.value)


class Searches(Recipe):
    """Searches with the models of one `arm` of training, over the first `count` questions of a `set`.

    `reward` is the reward model of the judge `reward`: a folder, or what `--reward` takes; pico's own unless given.
    `claims` are tested.
    """

    arm: str = LLAVA_COT
    questions: str
    count: int | None = Field(default=None, gt=0)
    searches: list[ArmRecipe] = Field(min_length=1)
    reward: str = ""
    claims: list[Claim] = Field(default_factory=list)

    def all_searches(self) -> list[Arm]:
        """The searches, lists multiplied out."""
        return spread(self.searches)

    @model_validator(mode="after")
    def _sound(self) -> Searches:
        check_arms(self.searches, self.claims)
        return self


class ReproduceRecipe(Recipe):
    """A whole comparison of ways to train.

    `rows` are staged rows: a file or folder of a dataset, with its folder of `images`, or what to draw. `starts` are
    recipes of training that are run first, one on the other; every arm begins from what the last one leaves. `train` is
    the recipe by which every arm is trained, once for each of `seeds`, which decide the order of rows; its rows, seed,
    folder and, with `starts`, its beginning are filled in. Paths of recipes start from the folder of this one.

    Every model answers every set of questions, greedily, with at most `max_tokens` for an answer. `beside` names the
    set whose figures are set beside the paper's. With `launch` the command that starts training on other machines is
    named, and nothing is trained here: the plan is printed and checked.
    """

    rows: Path | DrawnRows
    images: Path | None = None
    starts: list[Path] = Field(default_factory=list)
    train: Path
    arms: list[TrainedArm] = Field(min_length=1)
    seeds: list[int] = Field(default=[0, 1], min_length=1)
    sets: list[QuestionSet] = Field(min_length=1)
    beside: str
    max_tokens: int = Field(default=1024, gt=0)
    concurrency: int = Field(default=64, gt=0)
    searches: Searches | None = None
    launch: str = ""
    out: Path

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is given twice")
        return seeds

    @model_validator(mode="after")
    def _sound(self) -> ReproduceRecipe:
        for what, names in (
            ("arms", [arm.called for arm in self.arms]),
            ("sets", [one.name for one in self.sets]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} are given twice: {', '.join(twice)}")
        known = [one.name for one in self.sets]
        asked = [self.beside, *([self.searches.questions] if self.searches else [])]
        for name in asked:
            if name not in known:
                raise ValueError(f"there is no set {name!r}; sets: {', '.join(known)}")
        if self.searches:
            found = [arm for arm in self.arms if arm.called == self.searches.arm]
            if not found:
                raise ValueError(f"searches name the arm {self.searches.arm!r}, which is not there")
            if found[0].form is not Form.STAGED:
                raise ValueError(f"searches go stage by stage; the arm {self.searches.arm!r} is {found[0].form}")
        if isinstance(self.rows, DrawnRows) and self.images is not None:
            raise ValueError("images are those of a dataset; what is drawn has its own")
        return self

    def set_called(self, name: str) -> QuestionSet:
        """The set of that name, which is there."""
        return next(one for one in self.sets if one.name == name)

    def runs(self) -> list[tuple[TrainedArm, int]]:
        """Every arm with every seed: seed by seed, so that an early look compares like with like."""
        return [(arm, seed) for seed in self.seeds for arm in self.arms]
