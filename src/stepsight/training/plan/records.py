"""A plan as a value: what a run will take. Sizes are in bytes, lengths in tokens, of operations each product and each
sum counts as one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from stepsight.findings import Problem
from stepsight.records import Record

UTILISATION = 0.35
"""The share of a graphics card's peak that a run is taken to reach; what a run reaches is to be measured."""


class PlanChoice(Record):
    """What a plan is made for.

    `device` is a key of `plan.devices.DEVICES`, or `cpu`: this machine, on which a step is measured. None stands for
    what fits the recipe: a node of 8 H100 where it shards, one H100 for models of some size, else this machine.
    `config` is a folder with the configuration of the model to start from, where the model itself is out of reach.
    """

    devices: int | None = Field(default=None, gt=0)
    device: str | None = None
    utilisation: float = Field(default=UTILISATION, gt=0, le=1)
    config: Path | None = None


class Part(Record):
    """A part of a model, and how many of its parameters learn."""

    name: Literal["vision tower", "projector", "text model", "embeddings", "adapters"]
    parameters: int
    trained: int


class Lengths(Record):
    """How long rows are: all tokens of a row, those that count in the loss, and how much a batch is padded.

    `measured` says whether rows were encoded for it, or whether all of this is assumed; `source` says which rows.
    `padded` is the mean length of a row with its padding; `shortened` is how many rows are longer than the recipe lets
    them be, and are cut or left out.
    """

    measured: bool
    source: str
    rows: int | None
    tokens: float
    learned: float
    padded: float
    longest: int
    shortened: int = 0


class DeviceMemory(Record):
    """What one device holds when it holds most.

    `gathered` is what several devices need for a while: whole weights of the layers in work and their gradients, or
    buckets to send gradients in. `activations` is everything that a step makes beside gradients of weights. Each is
    what it is at its most; `total`, all at once, is less than their sum where some come while others go. `reserve` is
    what comes on top (`sharding.RESERVE`).
    """

    rows: int
    length: int
    checkpointing: bool
    weights: int
    gradients: int
    optimiser: int
    gathered: int
    activations: int
    total: int
    reserve: int


class Compute(Record):
    """Operations of a step over all devices, and the time that follows.

    `forward` says how the operations of the forward pass fall to the model's parts; `formula` is the rule of thumb, 6
    for each parameter and token, for comparison. `seconds` are of a step, measured here or worked out as `how` says.
    """

    operations: int
    forward: Mapping[str, int]
    formula: int
    seconds: float
    hours: float
    how: str


class Target(Record):
    """A kind of device: its memory, and the operations of a second at its peak, by the type of numbers."""

    name: str
    title: str
    memory: int | None
    peak: float | None


class Plan(Record):
    """What a run will take, what that rests on, and what is wrong with it."""

    recipe: Path
    model: str
    parts: tuple[Part, ...]
    lengths: Lengths
    devices: int
    target: Target
    sharding: Literal["none", "fsdp", "zero3"]
    precision: str
    batch: int
    turns: int
    rows_per_turn: int
    steps: int
    epochs: float | None
    warmup: int
    tokens_per_step: int
    learned_per_step: int
    memory: tuple[DeviceMemory, ...]
    kept: Mapping[str, int]
    compute: Compute
    launch: str
    assumptions: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def tokens(self) -> int:
        """Tokens of the whole run, without padding."""
        return self.tokens_per_step * self.steps

    @property
    def learned(self) -> int:
        """Tokens of the whole run that count in the loss."""
        return self.learned_per_step * self.steps
