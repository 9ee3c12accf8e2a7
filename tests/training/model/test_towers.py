"""The vision tower and the text model are found in every family, and freezing leaves them as they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.engines.transformers.tiny_models import FAMILIES, build
from torch import nn

from stepsight.errors import InputError, ModelError
from stepsight.training.devices import wrapped_layers
from stepsight.training.model.adapters import target_layers
from stepsight.training.model.towers import freeze, reached_by_pictures, text_model, vision_tower


def step(model: Any, processor: Any, *, picture: bool) -> dict[str, torch.Tensor]:
    """One step of gradient descent on some text; the parameters that changed."""
    from PIL import Image

    content: list[dict[str, str]] = [{"type": "image"}] if picture else []
    turns = [{"role": "user", "content": [*content, {"type": "text", "text": "the red one"}]}]
    text = processor.apply_chat_template(turns)
    pictures = {"images": [Image.new("RGB", (16, 16), (200, 30, 60))]} if picture else {}
    batch = processor(text=[text], return_tensors="pt", add_special_tokens=False, **pictures)
    labels = batch["input_ids"].clone()
    labels[labels >= model.config.get_text_config().vocab_size] = -100
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimiser = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=1.0)
    model(**batch, labels=labels).loss.backward()
    optimiser.step()
    return {name: value for name, value in model.named_parameters() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("family", FAMILIES)
def test_freezing_leaves_a_tower_as_it_is(family: str) -> None:
    torch.manual_seed(0)
    model, processor = build(family)
    names = {id(value): name for name, value in model.named_parameters()}
    vision = {names[id(one)] for one in vision_tower(model).parameters()}
    text = {names[id(one)] for one in text_model(model).parameters()}
    assert vision
    assert text
    assert not vision & text
    freeze(model, vision=True, text=False)
    changed = set(step(model, processor, picture=True))
    assert not changed & vision
    assert changed & text
    model.requires_grad_(True)
    freeze(model, vision=False, text=True)
    changed = set(step(model, processor, picture=True))
    assert changed & vision
    assert not changed & text
    assert not any(name.startswith("lm_head") for name in changed)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_picture_the_rest_alone_has_gradients(family: str) -> None:
    torch.manual_seed(0)
    model, processor = build(family)
    step(model, processor, picture=False)
    reached = {id(one) for one in reached_by_pictures(model)}
    assert reached
    for name, value in model.named_parameters():
        assert (value.grad is None) == (id(value) in reached), name


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_go_to_the_text_model_alone(family: str) -> None:
    model, _ = build(family)
    layers = target_layers(model, [])
    inside = {id(module) for module in text_model(model).modules()}
    modules = dict(model.named_modules())
    assert layers
    assert all(id(modules[name]) in inside and isinstance(modules[name], nn.Linear) for name in layers)
    some = target_layers(model, ["q_proj", "mlp.down_proj"])
    assert {name.rpartition(".")[2] for name in some} == {"q_proj", "down_proj"}
    assert set(some) < set(layers)
    with pytest.raises(InputError, match="ends in kv_proj") as caught:
        target_layers(model, ["q_proj", "kv_proj"])
    assert "q_proj" in caught.value.hint


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_sharded_one_by_one(family: str) -> None:
    model, _ = build(family)
    found = wrapped_layers(model, [])
    layers = {type(module).__name__ for module in text_model(model).layers}  # type: ignore[union-attr]
    assert layers <= set(found)
    assert set(found) <= {type(module).__name__ for module in model.modules()}
    assert wrapped_layers(model, sorted(layers)) == sorted(layers)
    with pytest.raises(ModelError, match="has no OtherLayer") as caught:
        wrapped_layers(model, ["OtherLayer"])
    assert sorted(layers)[0] in caught.value.hint


def test_a_model_that_only_reads_has_no_vision_tower() -> None:
    model, _ = build("llava-siglip-llama")
    from transformers import LlamaForCausalLM

    with pytest.raises(ModelError, match="no vision tower"):
        vision_tower(LlamaForCausalLM(model.config.text_config))
