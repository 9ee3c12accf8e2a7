"""What each device holds of weights, gradients and optimiser: all of them, or shards.

As accelerate has it: weights stay in float32, and bfloat16 copies are computed with. FSDP2 cuts every weight along its
first axis. DeepSpeed's ZeRO-3 is reckoned by its paper (arXiv 1910.02054) and has not been run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

SINGLE, BRIEF = 4, 2
"""Bytes of a number in float32 and in bfloat16."""
MOMENTS = 2
"""Numbers that AdamW keeps of each weight that learns, in float32; and one more of each tensor, its count of steps."""
RESERVE = 3 * 2**30
"""Of a graphics card's memory: the driver's context, libraries' work spaces and buffers for messages, and what an
allocator loses between blocks."""
PER_NODE = 8

Way = Literal["none", "fsdp", "zero3"]


@dataclass(frozen=True)
class Static:
    """Bytes that stay on one device for the whole run (gradients: from their step's backward pass to its end).

    `buckets` are those in which gradients are sent to other devices.
    """

    weights: int
    gradients: int
    optimiser: int
    buckets: int = 0


def static_memory(model: Any, learning: Collection[str], way: Way, devices: int, *, brief: bool = False) -> Static:
    """What a device holds beside what a step makes.

    Args:
        model: an outline.
        learning: names of the weights that get gradients.
        way: of sharding.
        devices: over which.
        brief: whether sharded copies in bfloat16 are computed with.
    """
    weights = list(model.parameters())
    learns = [weight for name, weight in model.named_parameters() if name in learning]
    if way == "none":
        learned = _numbers(learns)
        optimiser = SINGLE * (MOMENTS * learned + len(learns))
        # DistributedDataParallel sends gradients in buckets, which take as much again.
        buckets = SINGLE * learned if devices > 1 else 0
        return Static(SINGLE * _numbers(weights), SINGLE * learned, optimiser, buckets)
    whole, learned = _shard(weights, devices), _shard(learns, devices)
    optimiser = SINGLE * (MOMENTS * learned + len(learns))
    if way == "zero3" and brief:
        # Copies are sharded beside the weights themselves, of which there are those that learn; gradients are copies'.
        return Static(SINGLE * learned + BRIEF * whole, BRIEF * learned, optimiser)
    return Static(SINGLE * whole, SINGLE * learned, optimiser)


def launch_command(recipe: Path, devices: int) -> str:
    """The command that runs a recipe on so many devices."""
    if devices == 1:
        return f"stepsight train {recipe}"
    nodes = -(-devices // PER_NODE)
    if nodes == 1:
        return f"torchrun --nproc-per-node {devices} -m stepsight train {recipe}"
    meet = "--rdzv-backend c10d --rdzv-endpoint FIRST_NODE:29500"
    return f"torchrun --nnodes {nodes} --nproc-per-node {devices // nodes} {meet} -m stepsight train {recipe}"


def _numbers(weights: Iterable[nn.Parameter]) -> int:
    return sum(weight.numel() for weight in weights)


def _shard(weights: Iterable[nn.Parameter], devices: int) -> int:
    """Numbers in the largest shard: weights are cut along their first axis, and the last shards are padded."""
    return sum(-(-weight.shape[0] // devices) * (weight.numel() // weight.shape[0]) for weight in weights)
