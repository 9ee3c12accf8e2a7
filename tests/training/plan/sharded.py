"""A step of pico in eight shards, as accelerate sets FSDP2 up, against its plan; run by test_measured.py.

One process is there; what it sends and receives goes nowhere (torch's fake process group), which costs the numbers
their meaning and leaves memory as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import MethodType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import torch
import torch.distributed as dist
from tests.training.plan.measuring import most_held
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from stepsight.training.devices import wrapped_layers
from stepsight.training.encoding.exchange import collate
from stepsight.training.lessons.practice import Practice
from stepsight.training.losses import sft_loss
from stepsight.training.model.pico import build_model, build_processor, build_tokenizer
from stepsight.training.plan.sharding import static_memory
from stepsight.training.plan.step import checkpoint_layers, play_turn
from stepsight.training.recipe.data import WorldLessons
from stepsight.training.recipe.train import PicoSizes

DEVICES = 8
SIZES = PicoSizes(text_hidden=384, text_mlp=768)
TOLERANCE = 0.03


def shard(model: Any, classes: list[str], brief: bool) -> None:
    """As `accelerate.utils.fsdp2_prepare_model`, with the policy of the trainer."""
    policy = MixedPrecisionPolicy()
    if brief:
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    options: dict[str, Any] = {"mesh": init_device_mesh("cpu", (DEVICES,)), "mp_policy": policy}
    for module in reversed(list(model.modules())):
        if type(module).__name__ in classes:
            fully_shard(module, reshard_after_forward=True, **options)
    text = model.model.language_model
    fully_shard([text.norm, text.embed_tokens, model.lm_head], reshard_after_forward=False, **options)
    fully_shard(model, **options)


def local(tensor: Any) -> torch.Tensor:
    whole: torch.Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return whole


def main() -> None:
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=DEVICES)
    tokenizer = build_tokenizer()
    processor: Any = build_processor(SIZES, tokenizer)
    lessons = Practice(WorldLessons(mixture={"look": 1.0}), processor, batch=2, length=2)
    batch = collate([lessons[0], lessons[1]], int(tokenizer.pad_token_id))
    for brief, checkpointing in ((False, False), (True, True)):
        torch.manual_seed(0)
        model: Any = build_model(SIZES, tokenizer).train()
        classes = wrapped_layers(model, ())
        planned: Any = build_model(SIZES, tokenizer).train()
        if checkpointing:
            checkpoint_layers(model, classes)
            checkpoint_layers(planned, classes)
        turn = play_turn(planned, batch, sft_loss, "bfloat16" if brief else "float32", classes)
        static = static_memory(planned, turn.reached, "fsdp", DEVICES, brief=brief)
        shard(model, classes, brief)
        model.forward = MethodType(lambda self: sft_loss(self, batch), model)
        optimiser = torch.optim.AdamW(model.parameters(), fused=True)

        def step(model: Any = model) -> None:
            model()[0].backward()

        step()
        optimiser.step()
        weights = list(model.parameters())
        real = (
            sum(local(one).nbytes for one in weights),
            sum(local(one.grad).nbytes for one in weights if one.grad is not None),
            sum(local(value).nbytes for state in optimiser.state.values() for value in state.values()),
        )
        assert real == (static.weights, static.gradients, static.optimiser), (real, static)
        most = most_held(step)  # gradients are there, so that none come
        planned_most = turn.passing
        print(f"measured {most:,}, planned {planned_most:,}: {planned_most / most:.3f}")
        assert abs(planned_most - most) <= TOLERANCE * most, (most, planned_most)
    print("2 ways equal")


if __name__ == "__main__":
    main()
