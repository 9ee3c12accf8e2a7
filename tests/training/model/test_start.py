"""A model that grows says what it said before, until it learns."""

from __future__ import annotations

from typing import Any

import torch

from stepsight.training.model.start import grow_model


def test_new_layers_change_nothing_and_can_learn(model: Any) -> None:
    torch.manual_seed(1)
    ids = torch.randint(6, 200, (2, 12))
    grown = grow_model(model, 2)
    old, new = model.config.text_config.num_hidden_layers, grown.config.text_config.num_hidden_layers
    assert (old, new) == (2, 4)
    with torch.no_grad():
        before, after = (one(input_ids=ids).logits for one in (model, grown))
    assert torch.equal(before, after)
    grown(input_ids=ids, labels=ids).loss.backward()
    for layer in grown.model.language_model.layers[old:]:
        assert layer.self_attn.o_proj.weight.grad.abs().sum() > 0
        assert layer.mlp.down_proj.weight.grad.abs().sum() > 0
