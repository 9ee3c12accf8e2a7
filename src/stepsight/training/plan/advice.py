"""What is wrong with a plan, each with what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stepsight.findings import Problem
from stepsight.training.plan.records import DeviceMemory, Plan
from stepsight.training.recipe.data import StagedRows
from stepsight.training.recipe.train import TrainRecipe

_GIB = 2**30
MOST_DEVICES = 64


def find_problems(plan: Plan, recipe: TrainRecipe, model: Any) -> Iterator[Problem]:
    """Go through a plan.

    Args:
        plan: whole but for its problems.
        recipe: that it was made from.
        model: its outline.
    """
    parts = plan.devices * plan.turns
    if plan.batch % parts:
        yield Problem(
            what=f"a batch of {plan.batch} rows cannot be divided over {plan.devices} devices in {plan.turns} turns",
            next=f"--set optimisation.batch={-(-plan.batch // parts) * parts}, or another number of --devices",
            serious=True,
        )
    yield from _too_long(plan, recipe, model)
    memory, there = plan.memory[0], plan.target.memory
    if there is not None and memory.total + memory.reserve > there:
        needed = f"{(memory.total + memory.reserve) / _GIB:.1f} of {there / _GIB:.1f} GiB"
        usual = plan.memory[2]
        fits = "; of usual length they do" if usual.total + usual.reserve <= there else ""
        yield Problem(
            what=f"{memory.rows} rows of {memory.length:,} tokens do not fit on a device: they take {needed}{fits}",
            next=_what_would_fit(plan, there),
            serious=not fits,
        )


def _too_long(plan: Plan, recipe: TrainRecipe, model: Any) -> Iterator[Problem]:
    data = recipe.data
    context = data.context if isinstance(data, StagedRows) else None
    longest = plan.lengths.longest
    if plan.lengths.shortened:
        yield Problem(
            what=f"{plan.lengths.shortened:,} rows are longer than context, {context} tokens, and are cut or left out",
            next="raise data.context, if what their ends say matters",
        )
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and max(longest, context or 0) > positions:
        yield Problem(
            what=f"rows may have {max(longest, context or 0):,} tokens, and the model knows {positions:,} positions",
            next=f"--set data.context={positions}",
            serious=True,
        )


def _what_would_fit(plan: Plan, there: int) -> str:
    """The first change, of those that cost least, that makes the longest rows fit by these figures."""
    asked, other = plan.memory[0], plan.memory[1]
    again = asked if asked.checkpointing else other
    if not asked.checkpointing and _fits(again, there):
        return "--set optimisation.checkpointing=true"
    more = "" if asked.checkpointing else "--set optimisation.checkpointing=true "
    for turns in _divisors(plan.batch // plan.devices):
        rows = plan.batch // plan.devices // turns
        if turns > plan.turns and _fits(again, there, rows=rows):
            return f"{more}--set optimisation.accumulate={turns}: the loss stays the same, rows of a turn become {rows}"
    if plan.sharding == "none":
        return f"{more}--set sharding.way=fsdp with --devices 8; or train less of it: lora, freeze_vision"
    for devices in range(2 * plan.devices, MOST_DEVICES + 1, plan.devices):
        if plan.batch % devices == 0 and _fits(again, there, rows=1, spread=devices / plan.devices):
            return f"{more}--devices {devices} with --set optimisation.accumulate={plan.batch // devices}"
    return "train less of the model (lora, freeze_vision), or shorten data.context"


def _fits(memory: DeviceMemory, there: int, rows: int | None = None, spread: float = 1.0) -> bool:
    """Whether memory suffices with other rows a turn, activations being as many, and shards on more devices."""
    static = (memory.weights + memory.gradients + memory.optimiser) / spread
    share = 1.0 if rows is None else rows / memory.rows
    moving = memory.gathered + memory.activations * share
    needed = memory.total if rows is None and spread == 1.0 else static + moving
    return needed + memory.reserve <= there


def _divisors(number: int) -> Iterator[int]:
    yield from (one for one in range(1, number + 1) if number % one == 0)
