"""What a training recipe may say of its steps: how many, how large, how fast, on how many devices, how watched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from stepsight.recipes import Recipe


class Lora(Recipe):
    """Low-rank adapters on the text model instead of all of its weights (arXiv 2106.09685), by the library PEFT.

    `targets` are the ends of the names of the linear layers that get one, all of the text model's unless given; `alpha`
    over `rank` is what an adapter's output is multiplied by.
    """

    rank: int = Field(default=16, gt=0)
    alpha: int = Field(default=32, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: list[str] = Field(default_factory=list)


class Watching(Recipe):
    """What is looked at while a model trains, before the first step, every `every` steps and at the end.

    Of `losses` held-out answers loss and token accuracy are measured stage by stage, and `samples` questions are
    answered greedily, in at most `max_tokens` tokens each; 0 leaves either out. Both are the first of the same: rows of
    a file (`rows` and `images`, as `data` has them) in an order that `seed` decides, or questions that the world draws
    in a `split` by a `seed` that no lesson was drawn by.
    """

    every: int = Field(gt=0)
    losses: int = Field(default=128, ge=0)
    samples: int = Field(default=64, ge=0)
    rows: Path | None = None
    images: Path | None = None
    split: Literal["train", "test", "hard"] = "train"
    seed: int = 7007
    max_tokens: int = Field(default=512, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Watching:
        if (self.rows is None) != (self.images is None):
            raise ValueError("rows and images go together")
        if not self.losses and not self.samples:
            raise ValueError("with neither losses nor samples there is nothing to look at")
        return self


class Optimisation(Recipe):
    """How long, how fast and how to save.

    Either `steps`, or `epochs` over rows, say how long. `batch` is the number of rows of a step, over all devices;
    each device takes its part of them in `accumulate` turns, and the loss is that of the whole batch however it is
    divided. `learning_rate` is its peak after `warmup` steps, falling as `schedule` says: to zero, or (`step`) to
    `gamma` times what it was behind every epoch. `clip` bounds the gradient's norm; `off` leaves it. `bf16: auto`
    computes in bfloat16 where the processor multiplies it in hardware. `checkpointing` computes activations again in
    the backward pass instead of keeping them; `liger` takes fused kernels for a GPU (arXiv 2410.10989). `blend` is
    where between the start (0) and the end (1) of the run the saved weights lie: what was learned last is kept, and
    what the start could do on inputs unlike the lessons is lost less (WiSE-FT, arXiv 2109.01903).
    """

    steps: int | None = Field(default=None, gt=0)
    epochs: float | None = Field(default=None, gt=0)
    batch: int = Field(gt=0)
    accumulate: int = Field(default=1, gt=0)
    learning_rate: float = Field(gt=0)
    warmup: int = Field(default=100, ge=0)
    schedule: Literal["cosine", "linear", "constant_with_warmup", "step"] = "cosine"
    gamma: float = Field(default=0.85, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: Annotated[float, Field(gt=0)] | Literal["off"] = 1.0
    bf16: bool | Literal["auto"] = "auto"
    compile: bool = False
    checkpointing: bool = False
    liger: bool = False
    blend: float = Field(default=1.0, gt=0, le=1)
    seed: int = 42
    save_every: int = Field(default=500, gt=0)
    log_every: int = Field(default=50, gt=0)
    workers: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _how_long(self) -> Optimisation:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        if self.batch % self.accumulate:
            raise ValueError(f"batch ({self.batch}) is no multiple of accumulate ({self.accumulate})")
        return self


class Sharding(Recipe):
    """How a run is spread over several devices (start it with `accelerate launch` or `torchrun`).

    `none` keeps the whole model on each device; `fsdp` shards weights, gradients and optimiser (FSDP2); `zero3` does so
    with DeepSpeed. `wrap` names the layers' classes that are sharded one by one; the library's own list unless given.
    """

    way: Literal["none", "fsdp", "zero3"] = "none"
    wrap: list[str] = Field(default_factory=list)
