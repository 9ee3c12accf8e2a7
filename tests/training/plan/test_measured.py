"""A plan's memory against that of real steps: whole models, of every family, with adapters; and in shards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.engines.transformers.tiny_models import FAMILIES, build
from tests.training.plan.measuring import Measured, measure

from stepsight.training.encoding.exchange import collate
from stepsight.training.lessons.practice import Practice
from stepsight.training.losses import sft_loss
from stepsight.training.model.pico import build_model, build_processor
from stepsight.training.plan.outline import add_adapters, vision_tower
from stepsight.training.plan.sharding import static_memory
from stepsight.training.plan.step import Precision, Turn, checkpoint_layers, play_turn
from stepsight.training.recipe.data import WorldLessons
from stepsight.training.recipe.steps import Lora
from stepsight.training.recipe.train import PicoSizes

TOLERANCE = 0.05
"""What an operation needs inside itself is not seen, and gradients are summed up beside themselves; most are equal."""

SIZES = PicoSizes()


def pico_batch(processor: Any, rows: int) -> dict[str, torch.Tensor]:
    lessons = Practice(WorldLessons(mixture={"look": 1.0}), processor, batch=rows, length=rows)
    return collate([lessons[index] for index in range(rows)], processor.tokenizer.pad_token_id)


def family_batch(processor: Any, rows: int) -> dict[str, torch.Tensor]:
    talk: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what is it " * 8}]},
        {"role": "assistant", "content": [{"type": "text", "text": "the answer is here " * 20}]},
    ]
    text = processor.apply_chat_template(talk, tokenize=False)
    pictures = [[Image.new("RGB", (40, 24), (200, 10, row))] for row in range(rows)]
    made = processor(text=[text] * rows, images=pictures, return_tensors="pt", padding=True, add_special_tokens=False)
    labels = made["input_ids"].clone()
    labels[:, : labels.shape[1] // 3] = -100
    return {**made, "labels": labels, "weights": (labels != -100).float()}


def check(model: Any, turn: Turn, measured: Measured) -> None:
    static = static_memory(model, turn.reached, "none", 1)
    assert (static.weights, static.gradients, static.optimiser) == (
        measured.weights,
        measured.gradients,
        measured.optimiser,
    )
    assert turn.most == pytest.approx(measured.most, rel=TOLERANCE)
    assert turn.passing == turn.activations <= turn.most


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize(("rows", "precision"), [(2, "float32"), (2, "autocast"), (8, "float32")])
def test_a_step_of_pico(processor: Any, rows: int, precision: Precision, checkpointing: bool) -> None:
    torch.manual_seed(0)
    whole = build_processor(SIZES, processor.tokenizer)
    batch = pico_batch(whole, rows)
    model: Any = build_model(SIZES, processor.tokenizer).train()
    if checkpointing:
        checkpoint_layers(model)
    measured = measure(model, batch, sft_loss, autocast=precision == "autocast")
    model.zero_grad()
    check(model, play_turn(model, batch, sft_loss, precision), measured)


def test_checkpointing_and_smaller_batches_hold_less(processor: Any) -> None:
    whole = build_processor(SIZES, processor.tokenizer)
    model: Any = build_model(SIZES, processor.tokenizer).train()
    kept = play_turn(model, pico_batch(whole, 4), sft_loss, "float32")
    few = play_turn(model, pico_batch(whole, 1), sft_loss, "float32")
    checkpoint_layers(model)
    again = play_turn(model, pico_batch(whole, 4), sft_loss, "float32")
    assert again.activations < kept.activations / 2
    assert few.activations < kept.activations / 2
    assert again.operations > kept.operations
    assert again.forward == kept.forward


def test_operations_are_those_of_the_layers(processor: Any) -> None:
    whole = build_processor(SIZES, processor.tokenizer)
    model: Any = build_model(SIZES, processor.tokenizer).train()
    batch = pico_batch(whole, 2)
    turn = play_turn(model, batch, sft_loss, "float32")
    rows, length = batch["input_ids"].shape
    layers = model.model.language_model.layers
    linear = sum(weight.numel() for weight in layers.parameters() if weight.ndim == 2)
    # Scores, and values weighed by them: each a product of [length, width] and [width, length] for every head.
    attention = 2 * 2 * rows * length * length * SIZES.text_hidden * len(layers)
    assert turn.forward["text model"] == pytest.approx(2 * rows * length * linear + attention, rel=1e-4)
    head = model.lm_head.weight.numel()
    labelled = int((batch["labels"][:, 1:] != -100).sum())
    assert turn.forward["embeddings"] == 2 * labelled * head
    # Backward: gradients of inputs and of weights; of attention five products instead of two.
    passes = 3 * sum(turn.forward.values()) + attention // 2
    assert turn.operations == pytest.approx(passes, rel=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_of_every_family(family: str) -> None:
    torch.manual_seed(0)
    model, processor = build(family)
    model.train()
    batch = family_batch(processor, 3)
    measured = measure(model, batch, sft_loss, autocast=False)
    model.zero_grad()
    check(model, play_turn(model, batch, sft_loss, "float32"), measured)


@pytest.mark.parametrize("family", ["mllama", "qwen3-vl"])
def test_a_step_with_a_frozen_tower_and_checkpointing(family: str) -> None:
    torch.manual_seed(0)
    model, processor = build(family)
    model.train()
    vision_tower(model).requires_grad_(False)
    checkpoint_layers(model)
    batch = family_batch(processor, 2)
    measured = measure(model, batch, sft_loss, autocast=True)
    model.zero_grad()
    turn = play_turn(model, batch, sft_loss, "autocast")
    check(model, turn, measured)
    assert not any("vision" in name or "visual" in name for name in turn.reached if "projector" not in name)


@pytest.mark.parametrize("precision", ["float32", "autocast"])
def test_a_step_with_adapters(precision: Precision) -> None:
    pytest.importorskip("peft")
    torch.manual_seed(0)
    model, processor = build("qwen3-vl")
    add_adapters(model, Lora(rank=4, targets=["q_proj", "down_proj"]))
    model.train()
    batch = family_batch(processor, 2)
    measured = measure(model, batch, sft_loss, autocast=precision == "autocast")
    model.zero_grad()
    turn = play_turn(model, batch, sft_loss, precision)
    check(model, turn, measured)
    assert all(".lora_" in name for name in turn.reached)


def test_a_step_in_shards() -> None:
    """In a process of its own, as eight devices of which one is there and the others are pretended."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "sharded.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "2 ways equal" in done.stdout
