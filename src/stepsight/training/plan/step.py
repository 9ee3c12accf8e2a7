"""One turn of a step, played with shapes: what it holds, what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from stepsight.training.plan.gathering import gathering
from stepsight.training.plan.outline import text_model, vision_tower
from stepsight.training.plan.shadow import ShadowPlay

Precision = Literal["float32", "autocast", "bfloat16"]
"""How numbers are computed: as the weights are; in bfloat16 where torch's autocast finds it safe, which copies weights;
or in bfloat16 throughout."""

Loss = Callable[[Any, dict[str, torch.Tensor]], tuple[torch.Tensor, Any]]
"""From a model and a batch to the loss, and to what is logged."""

LOSS = "loss"
BACKWARD = "backward pass"
OTHERS = "projector"


@dataclass(frozen=True)
class Turn:
    """What one turn takes, weights and inputs apart.

    Attributes:
        most: bytes at their most, gradients of weights included as they come.
        activations: bytes at their most, without gradients of weights.
        gathered: bytes that sharding puts there, at their most.
        passing: bytes of both together, at their most.
        kept: bytes that wait for the backward pass when it begins, by the part that made them.
        operations: of all passes.
        forward: operations of the forward pass, by part.
        reached: names of the weights that got a gradient; others, though they may learn, have neither that nor moments.
    """

    most: int
    activations: int
    gathered: int
    passing: int
    kept: Mapping[str, int]
    operations: int
    forward: Mapping[str, int]
    reached: frozenset[str]


def play_turn(
    model: Any,
    batch: Mapping[str, torch.Tensor],
    loss: Loss,
    precision: Precision,
    sharded: Sequence[str] | None = None,
) -> Turn:
    """Play the forward and the backward pass of one batch.

    Args:
        model: an outline, in training mode; its weights become shadows.
        batch: as made by `encoding.collate`.
        loss: of the recipe.
        precision: of the computation.
        sharded: classes of layers that are gathered one by one; None where each device has the whole model.

    Raises:
        ModelError: the model asks for numbers that a shadow does not have.
    """
    play = ShadowPlay()
    play.cast(model, torch.bfloat16 if precision == "bfloat16" else torch.float32)
    play.give(batch.values())
    shards = nullcontext() if sharded is None else gathering(model, sharded, play.held, lambda: play.scene == BACKWARD)
    with shards, _scenes(play, model), play:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "autocast"):
            result, seen = loss(model, dict(batch))
        forward, kept = dict(play.operations), play.alive()
        play.scene = BACKWARD
        result.backward()
        del result, seen
    reached = frozenset(name for name, weight in model.named_parameters() if weight.grad is not None)
    model.zero_grad()
    held = play.held
    return Turn(
        most=held.most,
        activations=held.most_others,
        gathered=held.most_lent,
        passing=held.most_passing,
        kept=kept,
        operations=play.operations.total(),
        forward=forward,
        reached=reached,
    )


def checkpoint_layers(model: Any, sharded: Sequence[str] | None = None) -> None:
    """Have a model's layers compute their activations again in the backward pass, as the run will.

    Args:
        model: an outline, in training mode.
        sharded: classes of layers that are sharded one by one, on which accelerate puts it; None where they are not,
            and the library puts it on the layers that it knows.
    """
    if sharded is None:
        model.activation_checkpointing_enable({"use_reentrant": False})
        return
    for name, module in list(model.named_modules())[::-1]:
        if type(module).__name__ in sharded:
            model.set_submodule(name, checkpoint_wrapper(module, preserve_rng_state=False))


@contextmanager
def _scenes(play: ShadowPlay, model: Any) -> Iterator[None]:
    """Tell the play which part of the model is at work."""
    head = model.get_output_embeddings()
    parts: list[tuple[nn.Module, str, str]] = [
        (model.base_model, OTHERS, LOSS),
        (vision_tower(model), "vision tower", OTHERS),
        (text_model(model), "text model", OTHERS),
        (head, "embeddings", LOSS),
    ]
    hooks = []
    for module, inside, behind in parts:
        hooks.append(module.register_forward_pre_hook(_turn_to(play, inside)))
        hooks.append(module.register_forward_hook(_turn_to(play, behind)))
    play.scene = LOSS
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _turn_to(play: ShadowPlay, scene: str) -> Callable[..., None]:
    def turn(*_: Any) -> None:
        if play.scene != BACKWARD:
            play.scene = scene

    return turn
