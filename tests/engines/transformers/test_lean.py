"""The lean step is the library's own, and is taken only where it is proven to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from tests.engines.transformers.tiny import Tiny
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaModel

from stepsight.engines.transformers.buffer import KVShape
from stepsight.engines.transformers.lean import LeanLlama
from stepsight.engines.transformers.slots import Slots


def llama(**other: object) -> LlamaModel:
    torch.manual_seed(3)
    options = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4} | other
    config = cast(Any, LlamaConfig)(vocab_size=11, max_position_embeddings=64, **options)
    model: LlamaModel = cast(Any, LlamaModel)(config).eval()
    model.config._attn_implementation = "sdpa"
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def one(
    lean: LeanLlama, slots: Slots, embedded: torch.Tensor, places: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """One token per row."""
    reach = int(columns.max()) + 1
    return lean.run(slots, embedded[:, None], places[:, None], columns[:, None], reach)[:, 0]


@pytest.mark.parametrize("kept", [1, 2, 4])
@pytest.mark.parametrize("head_dim", [8, 16])
def test_a_step_is_that_of_the_library(kept: int, head_dim: int) -> None:
    model = llama(num_key_value_heads=kept, head_dim=head_dim)
    lean = LeanLlama.of(model)
    assert lean is not None
    shape = KVShape.of(model.config, dtype=torch.float32, device=torch.device("cpu"))
    texts = torch.randn(3, 9, 32)
    lengths = [9, 6, 4]
    slots = Slots(shape)
    with torch.inference_mode():
        for _ in range(3):
            slots.join([torch.zeros(shape.layers, 2, shape.heads, 0, shape.head_dim)])
        # Rows of different length; each takes its tokens one at a time.
        for place in range(9):
            columns = torch.tensor([min(place, length - 1) for length in lengths])
            slots.reserve(3, place + 1)
            found = one(lean, slots, texts[torch.arange(3), columns], columns, columns)
            for row, length in enumerate(lengths):
                if place < length:
                    expected = model(inputs_embeds=texts[row : row + 1, : place + 1]).last_hidden_state[0, -1]
                    assert torch.allclose(found[row], expected, atol=1e-5)


def test_the_weights_are_not_touched() -> None:
    model = llama()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lean = LeanLlama.of(model)
    assert lean is not None
    slots = Slots(KVShape.of(model.config, dtype=torch.float32, device=torch.device("cpu")))
    slots.join([])
    slots.reserve(1, 2)
    embedded = torch.randn(1, 32)
    kept = embedded.clone()
    with torch.inference_mode():
        one(lean, slots, embedded, torch.tensor([0]), torch.tensor([0]))
    assert torch.equal(embedded, kept)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("width", [2, 5, 24])
@pytest.mark.parametrize("rows", [1, 3, 20])
def test_several_tokens_at_once_are_those_of_one_after_another(width: int, rows: int) -> None:
    model = llama(num_key_value_heads=2)
    lean = LeanLlama.of(model)
    assert lean is not None
    shape = KVShape.of(model.config, dtype=torch.float32, device=torch.device("cpu"))
    text = torch.randn(rows, width + 3, 32)
    starts = torch.tensor([row % 3 for row in range(rows)])
    apart, together = Slots(shape), Slots(shape)
    with torch.inference_mode():
        for slots in (apart, together):
            for _ in range(rows):
                slots.join([])
            slots.reserve(rows, width + 3)
            for place in range(3):
                columns = torch.minimum(starts, torch.tensor(place))
                one(lean, slots, text[torch.arange(rows), columns], columns, columns)
        columns = starts[:, None] + torch.arange(width)
        fed = text[torch.arange(rows)[:, None], columns]
        found = lean.run(together, fed, columns, columns, width + 2)
        for place in range(width):
            expected = one(lean, apart, fed[:, place], columns[:, place], columns[:, place])
            assert torch.allclose(found[:, place], expected, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 20])
def test_only_the_ends_of_rows_give_what_all_tokens_give(rows: int) -> None:
    lean = LeanLlama.of(llama(num_key_value_heads=2))
    assert lean is not None
    shape = KVShape.of(llama(num_key_value_heads=2).config, dtype=torch.float32, device=torch.device("cpu"))
    width = 6
    text = torch.randn(rows, width, 32)
    ends = torch.tensor([(3 * row + 1) % width for row in range(rows)])
    columns = torch.arange(width).expand(rows, -1)
    made, held = [], []
    with torch.inference_mode():
        for asked in (None, ends):
            slots = Slots(shape)
            for _ in range(rows):
                slots.join([])
            slots.reserve(rows, width)
            made.append(lean.run(slots, text, columns, columns, width, asked))
            held.append(torch.stack([slots.read(row, 0, width) for row in range(rows)]))
    assert made[1].shape == (rows, 1, 32)
    assert torch.allclose(made[0][torch.arange(rows), ends], made[1][:, 0], atol=1e-5)
    assert torch.allclose(held[0], held[1], atol=1e-6)


def test_rows_on_trunks_take_the_same_step() -> None:
    model = llama(num_key_value_heads=2)
    lean = LeanLlama.of(model)
    assert lean is not None
    shape = KVShape.of(model.config, dtype=torch.float32, device=torch.device("cpu"))
    text = torch.randn(5, 8, 32)
    text[1:3, :4] = text[0, :4]
    text[4, :3] = text[3, :3]
    shared = [4, 4, 4, 3, 3]
    whole, split = Slots(shape), Slots(shape)
    with torch.inference_mode():
        for _ in range(5):
            whole.join([])
        for place in range(7):
            columns = torch.full((5,), place)
            whole.reserve(5, place + 1)
            one(lean, whole, text[:, place], columns, columns)
        trunks = [split.plant([whole.read(row, 0, length)]) for row, length in ((0, 4), (3, 3))]
        for row, length in enumerate(shared):
            split.join([whole.read(row, length, 7)], trunks[row > 2])
        places = torch.full((5,), 7)
        inside = places - torch.tensor(shared)
        for slots in (whole, split):
            slots.reserve(5, 8)
        expected = one(lean, whole, text[:, 7], places, places)
        found = one(lean, split, text[:, 7], places, inside)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(split.read(4, 0, 8), whole.read(4, 0, 8), atol=1e-5)


def test_other_models_have_no_lean_form(build: Callable[[str], Tiny]) -> None:
    assert LeanLlama.of(llama(attention_bias=True)) is None
    assert LeanLlama.of(llama(hidden_act="gelu")) is None
    assert LeanLlama.of(cast(Any, llama()).to(torch.bfloat16)) is None
    assert LeanLlama.of(llama(rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})) is None
    watched = llama()
    cast(Any, watched.layers[1]).mlp.register_forward_hook(lambda *_: None)
    assert LeanLlama.of(watched) is None
    eager = llama()
    eager.config._attn_implementation = "eager"
    assert LeanLlama.of(eager) is None
    assert LeanLlama.of(build("llava-clip-qwen2").model.model.language_model) is None
    assert LeanLlama.of(build("llava-siglip-llama").model.model.language_model) is not None
