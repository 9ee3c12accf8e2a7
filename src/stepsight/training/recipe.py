"""What a training recipe may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from stepsight.world.lessons import LessonKind


class Strict(BaseModel):
    """A frozen part of a recipe; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PicoSizes(Strict):
    """The sizes of a pico that is built from nothing.

    The vision tower sees pictures of `picture` x `picture` pixels in patches of `patch` x `patch`.
    """

    picture: int = 112
    patch: int = 16
    vision_hidden: int = 128
    vision_layers: int = 3
    vision_heads: int = 4
    text_hidden: int = 256
    text_layers: int = 4
    text_heads: int = 8
    text_mlp: int = 512
    rope_theta: float = 1e6
    context: int = 2048


class StartFromNothing(Strict):
    """Build a new pico with random weights and its own tokenizer."""

    build: PicoSizes


class StartFromFolder(Strict):
    """Go on from a model folder or hub id."""

    folder: str


class WorldLessons(Strict):
    """Lessons drawn from the world while training goes on.

    `mixture` says how often each kind of lesson is given; `seed` which lessons; `verdict_weight` what one verdict counts
    in the loss against a token of an answer; `judge_prompts` in which words judging is taught.
    """

    mixture: dict[LessonKind, Annotated[float, Field(ge=0)]] = Field(min_length=1)
    seed: int = 0
    verdict_weight: float = 8.0
    judge_prompts: str = "short-1"


class StagedRows(Strict):
    """Rows of a JSON-lines file in the public dataset's format (`id`, `image`, `conversations`)."""

    rows: Path
    images: Path


class Optimisation(Strict):
    """How long, how fast and how to save.

    `batch` is the number of lessons a step; `learning_rate` its peak after `warmup` steps, falling to zero as `schedule`
    says. `bf16: auto` computes in bfloat16 where the processor multiplies it in hardware.
    """

    steps: int = Field(gt=0)
    batch: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warmup: int = 100
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    weight_decay: float = 0.01
    clip: float = 1.0
    bf16: bool | Literal["auto"] = "auto"
    compile: bool = False
    seed: int = 42
    save_every: int = 500
    log_every: int = 50
    workers: int = 1


class TrainRecipe(Strict):
    """One training run. `task: align` teaches the vision tower to name what each patch shows; `sft` is fine-tuning."""

    task: Literal["align", "sft"]
    start: StartFromNothing | StartFromFolder
    data: WorldLessons | StagedRows | None = None
    optimisation: Optimisation
    freeze_vision: bool = False
    out: Path
