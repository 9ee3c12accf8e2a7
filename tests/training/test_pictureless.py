"""A blank picture in a batch without one changes neither the loss nor what is learned from it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from PIL import Image

from stepsight.training.encoding.exchange import collate, encode_exchange
from stepsight.training.losses import sft_loss
from stepsight.training.model.towers import reached_by_pictures
from stepsight.training.pictureless import BLANK, LeaveUnseen, WithPicture, begin_adam
from stepsight.world.lessons import Span


class Unpictured:
    """Of a trainer, what the callback looks at."""

    def __init__(self, model: Any) -> None:
        self.model, self.pictured = model, False


def test_a_blank_picture_teaches_nothing(processor: Any, model: Any) -> None:
    plain = partial(collate, pad=processor.tokenizer.pad_token_id)
    pictured = WithPicture(plain, processor)
    rows = [encode_exchange(processor, text, None, (Span(text),)) for text in ("the cube", "a red ball is here")]
    batch = pictured(rows)
    assert batch.pop(BLANK)
    assert len(batch["input_ids"]) == 3
    assert "pixel_values" in batch
    loss, _ = sft_loss(model, plain(rows))
    torch.autograd.backward(loss)
    alone = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad()
    beside, _ = sft_loss(model, batch)
    torch.autograd.backward(beside)
    assert torch.allclose(loss, beside, atol=1e-6)
    seen = {id(value) for value in reached_by_pictures(model)}
    zeros = 0
    for name, value in model.named_parameters():
        if id(value) in seen:
            assert name not in alone
            zeros += value.grad is not None and not value.grad.any()
        else:
            assert torch.allclose(value.grad, alone[name], atol=1e-6), name
    assert zeros > 10  # gathered on all devices, forward and backward

    trainer: Any = Unpictured(model)
    LeaveUnseen(trainer).on_pre_optimizer_step(None, None, None)
    assert {name for name, value in model.named_parameters() if value.grad is not None} == set(alone)


def test_a_batch_with_a_picture_stays_as_it_is(processor: Any) -> None:
    plain = partial(collate, pad=processor.tokenizer.pad_token_id)
    rows = [encode_exchange(processor, "what", Image.new("RGB", (112, 112)), (Span("a cube"),))]
    batch = WithPicture(plain, processor)(rows)
    assert BLANK not in batch
    assert all(torch.equal(value, batch[name]) for name, value in plain(rows).items())


@pytest.mark.parametrize("fused", [False, True])
def test_adam_begins_as_it_would_by_itself(fused: bool) -> None:
    ends = []
    for begun in (False, True):
        torch.manual_seed(0)
        late, soon = (torch.nn.Parameter(torch.randn(4)) for _ in range(2))
        optimiser = torch.optim.AdamW([late, soon], lr=0.1, fused=fused)
        if begun:
            begin_adam(optimiser)
            assert len(optimiser.state) == 2
        for step in range(4):
            optimiser.zero_grad()
            loss = (soon**2).sum() + ((late**2).sum() if step > 1 else 0)
            torch.autograd.backward(loss)
            optimiser.step()
        ends.append(torch.cat([late, soon]))
    assert torch.equal(*ends)
