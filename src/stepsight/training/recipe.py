"""What a training recipe may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from stepsight.errors import InputError
from stepsight.prompts.judge import judge_prompts
from stepsight.recipes import Recipe
from stepsight.world.lessons import LessonKind


class PicoSizes(Recipe):
    """The sizes of a pico that is built from nothing.

    The vision tower sees pictures of `picture` x `picture` pixels in patches of `patch` x `patch`.
    """

    picture: int = Field(default=112, gt=0)
    patch: int = Field(default=16, gt=0)
    vision_hidden: int = Field(default=128, gt=0)
    vision_layers: int = Field(default=3, gt=0)
    vision_heads: int = Field(default=4, gt=0)
    text_hidden: int = Field(default=256, gt=0)
    text_layers: int = Field(default=4, gt=0)
    text_heads: int = Field(default=8, gt=0)
    text_mlp: int = Field(default=512, gt=0)
    rope_theta: float = Field(default=1e6, gt=0)
    context: int = Field(default=2048, gt=0)

    @model_validator(mode="after")
    def _divide(self) -> PicoSizes:
        for whole, part in (("picture", "patch"), ("vision_hidden", "vision_heads"), ("text_hidden", "text_heads")):
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(f"{whole} ({getattr(self, whole)}) is no multiple of {part} ({getattr(self, part)})")
        return self


class StartFromNothing(Recipe):
    """Build a new pico with random weights and its own tokenizer."""

    build: PicoSizes


class StartFromFolder(Recipe):
    """Go on from a model folder or hub id; `grow` puts so many new layers on top of its text model.

    New layers pass on what they are given until they have learned something better.
    """

    folder: str
    grow: int = Field(default=0, ge=0)


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
    """Rows of a JSON-lines file in the public dataset's format (`id`, `image`, `conversations`).

    `images` is the folder that a row's `image` starts from; `seed` decides the order of rows, new in every epoch.
    """

    rows: Path
    images: Path
    seed: int = 0


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


class Optimisation(Recipe):
    """How long, how fast and how to save.

    `batch` is the number of lessons a step; `learning_rate` its peak after `warmup` steps, falling to zero as
    `schedule` says. `bf16: auto` computes in bfloat16 where the processor multiplies it in hardware. `blend` is where
    between the start (0) and the end (1) of the run the saved weights lie: what was learned last is kept, and what the
    start could do on inputs unlike the lessons is lost less (WiSE-FT, arXiv 2109.01903).
    """

    steps: int = Field(gt=0)
    batch: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warmup: int = Field(default=100, ge=0)
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    bf16: bool | Literal["auto"] = "auto"
    compile: bool = False
    blend: float = Field(default=1.0, gt=0, le=1)
    seed: int = 42
    save_every: int = Field(default=500, gt=0)
    log_every: int = Field(default=50, gt=0)
    workers: int = Field(default=1, ge=0)


def _which_start(value: Any) -> str:
    folder = isinstance(value, StartFromFolder) or (isinstance(value, dict) and "folder" in value)
    return "StartFromFolder" if folder else "StartFromNothing"


def _which_data(value: Any) -> str:
    for model in (StagedRows, GradedAnswers):
        told = {"rows", "images"} if model is StagedRows else {"traces", "spoiled", "faulty"}
        if isinstance(value, model) or (isinstance(value, dict) and told & value.keys()):
            return model.__name__
    return "WorldLessons"


# Chosen by what is written, so that a misspelt key is reported once and not for every alternative.
Start = Annotated[
    Annotated[StartFromNothing, Tag("StartFromNothing")] | Annotated[StartFromFolder, Tag("StartFromFolder")],
    Discriminator(_which_start),
]
Data = Annotated[
    Annotated[WorldLessons, Tag("WorldLessons")]
    | Annotated[StagedRows, Tag("StagedRows")]
    | Annotated[GradedAnswers, Tag("GradedAnswers")],
    Discriminator(_which_data),
]


class TrainRecipe(Recipe):
    """One training run.

    `task: align` teaches the vision tower to name what each patch shows; `sft` is fine-tuning; `reward` teaches a copy
    of a model to say of each stage of an answer whether it is right. `freeze_vision` and `freeze_text` leave the vision
    tower, or the text model with its embeddings, as they are. `names` are what `align` teaches; all unless given.
    `keep` is what a change of what the vision tower says counts there, so that a model goes on reading it.
    """

    task: Literal["align", "sft", "reward"]
    start: Start
    data: Data | None = None
    optimisation: Optimisation
    freeze_vision: bool = False
    freeze_text: bool = False
    names: list[Literal["cell", "presence", "size", "color", "material", "shape"]] = Field(default_factory=list)
    keep: float = Field(default=0.0, ge=0)
    out: Path

    @model_validator(mode="after")
    def _fits(self) -> TrainRecipe:
        if self.task == "sft" and self.data is None:
            raise ValueError("sft needs data: name a mixture of lessons, or a file of rows and its folder of images")
        if (self.task == "reward") != isinstance(self.data, GradedAnswers):
            raise ValueError("reward, and nothing else, learns from graded answers: name traces, or a share of spoiled")
        if self.task == "align" and self.data is not None:
            raise ValueError("align takes no data: it draws its own pictures")
        if self.optimisation.blend < 1 and not isinstance(self.start, StartFromFolder):
            raise ValueError("blend needs a folder to start from: half of nothing is no model")
        if (self.names or self.keep) and self.task != "align":
            raise ValueError("names and keep are for align")
        if self.task == "align" and self.freeze_vision:
            raise ValueError("align with freeze_vision would leave nothing to learn about pictures")
        return self
