"""What a training recipe may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from stepsight.recipes import Recipe
from stepsight.training.recipe.data import GradedAnswers, StagedRows, WorldLessons
from stepsight.training.recipe.steps import Lora, Optimisation, Sharding, Watching


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

    `task: align` teaches the vision tower to name what each patch shows; `sft` is fine-tuning; `reward` teaches a
    copy of a model to say of each stage of an answer whether it is right. `freeze_vision` and `freeze_text` leave the
    vision tower, or the text model with its embeddings, as they are. `names` are what `align` teaches; all unless
    given. `keep` is what a change of what the vision tower says counts there, so that a model goes on reading it.
    `lora` trains adapters instead of the text model, `sharding` spreads the run over devices, `watching` asks the
    model while it learns, and `report_to` names trackers of transformers (`tensorboard`, `wandb`, `trackio`) beside
    the run's own log.
    """

    task: Literal["align", "sft", "reward"]
    start: Start
    data: Data | None = None
    optimisation: Optimisation
    lora: Lora | None = None
    sharding: Sharding = Sharding()
    watching: Watching | None = None
    report_to: list[str] = Field(default_factory=list)
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
        if self.optimisation.epochs is not None and not isinstance(self.data, StagedRows):
            raise ValueError("epochs are counted over rows; lessons that are drawn have no end: give steps")
        if self.watching:
            _check_held_out(self)
        if self.lora and (self.task != "sft" or self.freeze_text or self.optimisation.blend < 1):
            raise ValueError("lora is for sft of the text model, and does not go with blend or freeze_text")
        if self.lora and (not isinstance(self.start, StartFromFolder) or self.start.grow):
            raise ValueError("lora needs a folder to start from, without grow: adapters are kept apart from that model")
        if self.optimisation.schedule == "step" and not isinstance(self.data, StagedRows):
            raise ValueError("step falls by the epoch; lessons that are drawn have none: choose another schedule")
        if self.optimisation.blend < 1 and not isinstance(self.start, StartFromFolder):
            raise ValueError("blend needs a folder to start from: half of nothing is no model")
        if (self.names or self.keep) and self.task != "align":
            raise ValueError("names and keep are for align")
        if self.task == "align" and self.freeze_vision:
            raise ValueError("align with freeze_vision would leave nothing to learn about pictures")
        return self


def _check_held_out(recipe: TrainRecipe) -> None:
    watching, data = recipe.watching, recipe.data
    assert watching is not None
    if recipe.task != "sft":
        raise ValueError("watching is for sft: what the other tasks teach is no answer")
    if isinstance(data, StagedRows) and data.rows == watching.rows:
        raise ValueError("watching would look at the rows that are learned: hold some out in a file of their own")
    if isinstance(data, WorldLessons) and watching.rows is None and data.seed == watching.seed:
        raise ValueError(f"watching would look at lessons: give it another seed than {data.seed}")
