"""Alignment names every patch rightly and can be learned."""

from __future__ import annotations

from typing import Any

import torch

from stepsight.training.encoding.preview import preview_patches
from stepsight.training.lessons.align import ABSENT, NAMES, AlignLoss, Patches
from stepsight.world.programs import seen
from stepsight.world.scene import CELLS
from stepsight.world.split import pose


def test_the_names_of_patches_are_the_scenes(processor: Any) -> None:
    patches = Patches(processor, seed=7, length=3)
    assert len(patches) == 3
    for index in range(3):
        row = patches[index]
        scene = pose("train", seed=7, index=index).scene
        assert row["pixel_values"].shape == (3, 112, 112)
        standing = {CELLS[place] for place in range(49) if row["presence"][place] == 1}
        assert standing == {thing.cell for thing in scene.things}
        for thing in scene.things:
            place = CELLS.index(thing.cell)
            assert [NAMES[name][row[name][place]] for name in ("size", "color", "material", "shape")] == [
                thing.size,
                thing.color,
                thing.material,
                thing.shape,
            ]
        assert (row["color"] != ABSENT).sum() == len(scene.things)
        lines = preview_patches([row]).splitlines()
        assert lines[: len(scene.things)] == [thing.words for thing in seen(scene)]


def test_the_loss_falls_in_twenty_steps(processor: Any, model: Any) -> None:
    patches = Patches(processor, seed=7, length=8)
    batch = torch.utils.data.default_collate([patches[index] for index in range(8)])
    loss = AlignLoss(processor.tokenizer)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        value, right = loss(model, batch)
        assert set(right) == set(NAMES)
        optimiser.zero_grad()
        torch.autograd.backward(value)
        optimiser.step()
        losses.append(float(value.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_chosen_names_are_learned_and_all_else_is_kept(processor: Any, model: Any) -> None:
    patches = Patches(processor, seed=7, length=8)
    batch = torch.utils.data.default_collate([patches[index] for index in range(8)])
    model.model.language_model.requires_grad_(False)

    def train(keep: float) -> tuple[float, float]:
        torch.manual_seed(0)
        held = {name: value.clone() for name, value in model.state_dict().items()}
        loss = AlignLoss(processor.tokenizer, ["shape"], keep=keep, model=model)
        measured = AlignLoss(processor.tokenizer, ["shape"], keep=1.0, model=model)
        optimiser = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-3)
        for _ in range(15):
            value, right = loss(model, batch)
            assert set(right) == {"shape"} | ({"changed"} if keep else set())
            optimiser.zero_grad()
            torch.autograd.backward(value)
            optimiser.step()
        shape, seen = measured(model, batch)
        words = model.state_dict()["model.language_model.embed_tokens.weight"]
        assert torch.equal(words, held["model.language_model.embed_tokens.weight"])
        model.load_state_dict(held)
        changed = float(seen["changed"].detach())
        return float(shape.detach()) - changed, changed

    free, kept = train(0.0), train(50.0)
    assert kept[1] < 0.5 * free[1]
    assert free[0] < kept[0]
