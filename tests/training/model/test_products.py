"""Products by oneDNN are the same products, forward, backward, compiled, and on the way to a checkpoint."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from stepsight.training.encoding.exchange import collate, encode_exchange
from stepsight.training.losses import sft_loss
from stepsight.training.model import products
from stepsight.training.model.products import use_onednn
from stepsight.world.lessons import Span

from ..watching.test_stage_losses import trainer_of


@pytest.fixture
def batch(processor: Any) -> dict[str, torch.Tensor]:
    picture = Image.effect_noise((112, 112), 60).convert("RGB")
    rows = [encode_exchange(processor, "What is it?", picture, (Span(reply),)) for reply in ("a cube", "two red balls")]
    return collate(rows, processor.tokenizer.pad_token_id)


def learned(model: Any, batch: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss: Any = sft_loss(model, batch)[0]
    loss.backward()
    return float(loss.detach()), {
        name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None
    }


def check_same(one: Any, other: Any) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-6)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        assert torch.allclose(gradient, other[1][name], atol=1e-6, rtol=1e-4), name


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of what was multiplied by oneDNN."""
    shapes: list[tuple[int, ...]] = []
    forward = products._forward

    def count(layer: Any, rows: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(rows.shape))
        return forward(layer, rows)

    monkeypatch.setattr(products, "_forward", count)
    return shapes


def test_what_is_learned_is_the_same(
    model: Any, processor: Any, batch: dict[str, torch.Tensor], tmp_path: Path, counted: list[tuple[int, ...]]
) -> None:
    plain = deepcopy(model)
    # Of two layers: queries, keys, values and what gathers them, three of the feed-forward part; and the head.
    assert use_onednn(trainer_of(model, processor, tmp_path, 2)) == 2 * 7 + 1
    check_same(learned(model, batch), learned(plain, batch))
    assert len(counted) == 2 * 7 + 1
    assert model.state_dict().keys() == plain.state_dict().keys()
    # A copy multiplies by weights of its own.
    copy = deepcopy(model)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    check_same(learned(copy, batch), learned(plain, batch))


def test_frozen_weights_have_no_gradient(
    model: Any, processor: Any, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    model.model.language_model.layers.requires_grad_(False)
    plain = deepcopy(model)
    assert use_onednn(trainer_of(model, processor, tmp_path, 2))
    check_same(learned(model, batch), learned(plain, batch))


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
def test_a_compiled_model_multiplies_so_too(
    model: Any, processor: Any, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    plain = deepcopy(model)
    assert use_onednn(trainer_of(model, processor, tmp_path, 2))
    torch._dynamo.reset()
    # With the compiler's own backend this takes half a minute, and it takes the operation as it is as well.
    model.model.language_model.layers[0].mlp.compile(dynamic=True, backend="aot_eager", fullgraph=True)
    check_same(learned(model, batch), learned(plain, batch))
    torch._dynamo.reset()


def test_other_numbers_are_left_to_torch(
    model: Any, processor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(model, processor, tmp_path, 2)
    trainer.args.bf16 = True
    assert use_onednn(trainer) == 0
    trainer.args.bf16 = False
    with monkeypatch.context() as patched:
        patched.setattr(products, "can_pack", lambda weight: False)
        assert use_onednn(trainer) == 0
    model.double()
    assert use_onednn(trainer) == 0
    model.float()
    assert use_onednn(trainer)
