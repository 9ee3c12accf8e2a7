"""A recipe's plan: its model is outlined, rows are measured or assumed, turns of a step played, hours reckoned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from stepsight.errors import InputError
from stepsight.recipes import load_recipe
from stepsight.training.devices import wrapped_layers
from stepsight.training.losses import MarkedLoss, sft_loss
from stepsight.training.plan.advice import find_problems
from stepsight.training.plan.devices import CPU, has_bf16, target_for
from stepsight.training.plan.hours import from_peak, measure_step, rule_of_thumb
from stepsight.training.plan.outline import Outline, outline, parts_of
from stepsight.training.plan.records import Compute, DeviceMemory, Plan, PlanChoice
from stepsight.training.plan.rows import Rows, look_at_rows
from stepsight.training.plan.sharding import PER_NODE, RESERVE, Static, launch_command, static_memory
from stepsight.training.plan.step import Loss, Precision, Turn, checkpoint_layers, play_turn
from stepsight.training.recipe.data import WorldLessons
from stepsight.training.recipe.train import TrainRecipe

SMALL = 50_000_000
"""Parameters up to which a model is planned for this machine unless a device is named."""


def make_plan(recipe_path: Path, overrides: Sequence[str] = (), choice: PlanChoice | None = None) -> Plan:
    """Say what a run will take, without loading weights and without network.

    Args:
        recipe_path: a YAML file that says a `TrainRecipe`.
        overrides: `key=value` texts that change the recipe.
        choice: what to plan for.

    Raises:
        RecipeError: the recipe does not check out.
        ModelError: the configuration of its model is not to be had, or cannot be played.
        InputError: the task is not fine-tuning, rows cannot be read, or the devices do not fit the recipe.
    """
    choice = choice or PlanChoice()
    recipe = load_recipe(recipe_path, TrainRecipe, overrides)
    if recipe.task != "sft":
        raise InputError(f"a plan is made of fine-tuning, not of task: {recipe.task}", hint="see --dry-run")
    return _Planning(recipe, recipe_path, choice).plan()


class _Planning:
    """What a plan is made from, in the order in which it is found out."""

    def __init__(self, recipe: TrainRecipe, path: Path, choice: PlanChoice) -> None:
        self.recipe, self.path = recipe, path
        self.way = recipe.sharding.way
        self.devices = choice.devices or (1 if self.way == "none" else PER_NODE)
        if self.way != "none" and self.devices == 1:
            raise InputError(
                f"sharding.way is {self.way}, and there is one device to shard over",
                hint="give more --devices, or --set sharding.way=none",
            )
        self.utilisation = choice.utilisation
        self.outline: Outline = outline(recipe, path, choice.config)
        self.model = self.outline.model.train()
        self.parts = parts_of(self.model)
        small = self.way == "none" and sum(part.parameters for part in self.parts) <= SMALL
        name = choice.device or (CPU if small else "h100")
        how = recipe.optimisation
        self.bf16 = has_bf16(name) if how.bf16 == "auto" else how.bf16
        self.target = target_for(name, bf16=self.bf16)
        self.turns = how.accumulate
        self.together = ceil(how.batch / (self.devices * self.turns))
        self.rows: Rows = look_at_rows(recipe, self.outline, self.together)
        self.wrapped = None if self.way == "none" else wrapped_layers(self.model, recipe.sharding.wrap)
        marks = recipe.data.marks if isinstance(recipe.data, WorldLessons) else None
        self.loss: Loss = sft_loss
        if marks:
            self.loss = MarkedLoss(self.model, self.outline.processor.tokenizer, marks)

    @property
    def precision(self) -> Precision:
        """How numbers are computed on the devices."""
        if not self.bf16:
            return "float32"
        return "autocast" if self.way == "none" else "bfloat16"

    def plan(self) -> Plan:
        """All of it."""
        recipe, how, lengths = self.recipe, self.recipe.optimisation, self.rows.lengths
        turns = self._play()
        usual = turns[-1]
        memory = tuple(self._memory(turn) for turn in turns)
        steps = how.steps or ceil((how.epochs or 0) * (lengths.rows or 0) / how.batch)
        operations = usual.turn.operations * self.turns * self.devices
        seconds, reckoned = self._seconds(operations)
        plan = Plan(
            recipe=self.path,
            model=self.outline.name,
            parts=self.parts,
            lengths=lengths,
            devices=self.devices,
            target=self.target,
            sharding=self.way,
            precision=_PRECISIONS[self.precision],
            batch=how.batch,
            turns=self.turns,
            rows_per_turn=self.together,
            steps=steps,
            epochs=how.epochs if lengths.rows is None else steps * how.batch / lengths.rows,
            warmup=how.warmup,
            tokens_per_step=round(lengths.tokens * how.batch),
            learned_per_step=round(lengths.learned * how.batch),
            memory=memory,
            kept=turns[0].turn.kept,
            compute=Compute(
                operations=operations,
                forward={name: count * self.turns * self.devices for name, count in usual.turn.forward.items()},
                formula=rule_of_thumb(self.parts, lengths, how.batch),
                seconds=seconds,
                hours=seconds * steps / 3600,
                how=reckoned,
            ),
            launch=launch_command(self.path, self.devices),
            assumptions=(*self.rows.assumptions, *self._assumptions()),
            problems=(),
        )
        return plan.model_copy(update={"problems": tuple(find_problems(plan, recipe, self.model))})

    def _play(self) -> list[_Played]:
        """The longest rows as the recipe has it, and with checkpointing the other way; then rows of usual length."""
        lengths, checkpointing = self.rows.lengths, self.recipe.optimisation.checkpointing
        long, usual = lengths.longest, round(lengths.padded)
        wanted = [(long, checkpointing), (long, not checkpointing), (usual, checkpointing)]
        played: dict[tuple[int, bool], _Played] = {}
        # Without checkpointing first: layers are not unwrapped again.
        for length, again in sorted(set(wanted), key=lambda one: one[1]):
            if again and not any(one.checkpointing for one in played.values()):
                checkpoint_layers(self.model, self.wrapped)
            batch = self.rows.batches(self.together, length, round(lengths.learned * length / lengths.tokens))
            turn = play_turn(self.model, batch, self.loss, self.precision, self.wrapped)
            static = static_memory(self.model, turn.reached, self.way, self.devices, brief=self.bf16)
            played[length, again] = _Played(turn, static, batch["input_ids"].shape[1], again)
        return [played[one] for one in wanted]

    def _memory(self, played: _Played) -> DeviceMemory:
        turn, static = played.turn, played.static
        passing = turn.passing + static.gradients
        if self.way == "none" and self.turns == 1:
            # Gradients come while activations go; with several turns those of the first are there from then on.
            passing = turn.most
        return DeviceMemory(
            rows=self.together,
            length=played.length,
            checkpointing=played.checkpointing,
            weights=static.weights,
            gradients=static.gradients,
            optimiser=static.optimiser,
            gathered=turn.gathered + static.buckets,
            activations=turn.activations,
            total=static.weights + static.optimiser + static.buckets + passing,
            reserve=0 if self.target.name == CPU else RESERVE,
        )

    def _seconds(self, operations: int) -> tuple[float, str]:
        if self.target.name != CPU:
            return from_peak(operations, self.devices, self.target, self.utilisation)
        lengths = self.rows.lengths
        batch = self.rows.batches(self.together, round(lengths.padded), round(lengths.learned))
        return measure_step(self.model, batch, self.loss, self.turns)

    def _assumptions(self) -> list[str]:
        how = self.recipe.optimisation
        said = ["AdamW in float32; attention by torch's fused kernel; logits at labelled positions alone"]
        if how.compile:
            said.append("compile is not counted: fused kernels take less memory and time")
        if how.liger:
            said.append("liger is not counted: its kernels keep less for the backward pass")
        if self.target.name != CPU:
            said.append(
                f"{RESERVE / 2**30:g} GiB of each device are set aside for the driver, libraries and what an allocator "
                "loses between blocks"
            )
            said.append(f"each device reaches {self.utilisation:.0%} of its peak (--utilisation)")
        if self.way == "zero3":
            said.append("ZeRO-3 is reckoned by its paper and has not been run")
        return said


@dataclass(frozen=True)
class _Played:
    turn: Turn
    static: Static
    length: int
    checkpointing: bool


_PRECISIONS: dict[Any, str] = {
    "float32": "float32",
    "autocast": "weights in float32, computed in bfloat16 by autocast",
    "bfloat16": "weights in float32, computed with bfloat16 copies",
}
