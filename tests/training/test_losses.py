"""Marks on judged words are learned beside answers, and change nothing where there are none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stepsight.prompts.judge import judge_prompts
from stepsight.training.encoding.exchange import IGNORED, Encoded, collate, encode_exchange, mark_tokens
from stepsight.training.losses import MarkedLoss, sft_loss
from stepsight.training.recipe.data import Marks
from stepsight.world.lessons import LessonKind, draw_lesson


def rows(processor: Any, kind: LessonKind, count: int) -> list[Encoded]:
    encoded = []
    for index in range(count):
        lesson = draw_lesson(kind, seed=41, index=index, prompts=judge_prompts("short-2"))
        row = encode_exchange(processor, lesson.user, lesson.picture, lesson.spans)
        encoded.append(mark_tokens(processor.tokenizer, row, lesson.user, lesson.marks))
    return encoded


def test_marks_stand_on_the_last_tokens_of_marked_words(processor: Any) -> None:
    lesson = draw_lesson("caption", seed=41, index=0, prompts=judge_prompts("short-2"))
    (row,) = rows(processor, "caption", 1)
    assert row.marks is not None
    assert int((row.marks != IGNORED).sum()) == len(lesson.marks)
    words = [lesson.user[mark.start : mark.end] for mark in lesson.marks]
    decoded = [processor.tokenizer.decode([int(token)]).strip() for token in row.ids[row.marks != IGNORED]]
    assert decoded == words
    assert row.marks[row.marks != IGNORED].tolist() == [int(mark.right) for mark in lesson.marks]


def test_without_marks_the_loss_is_that_of_fine_tuning(processor: Any, model: Any) -> None:
    batch = collate(rows(processor, "read", 2), processor.tokenizer.pad_token_id)
    assert "marks" not in batch
    marked = MarkedLoss(model, processor.tokenizer, Marks())
    assert torch.equal(marked(model, batch)[0], sft_loss(model, batch)[0])


def test_marks_are_learned(processor: Any, model: Any) -> None:
    batch = collate(rows(processor, "screen", 6), processor.tokenizer.pad_token_id)
    loss = MarkedLoss(model, processor.tokenizer, Marks())
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    seen: list[dict[str, torch.Tensor]] = []
    for _ in range(60):
        value, noted = loss(model, batch)
        seen.append(noted)
        optimiser.zero_grad()
        torch.autograd.backward(value)
        optimiser.step()
    assert seen[-1]["marks_loss"] < 0.5 * seen[0]["marks_loss"]
    assert seen[-1]["wrong_words_found"] > 0.9
    assert seen[-1]["right_words_passed"] > 0.9


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_the_weight_of_marks_is_their_share_of_the_loss(processor: Any, model: Any, weight: float) -> None:
    batch = collate(rows(processor, "screen", 2), processor.tokenizer.pad_token_id)
    loss = MarkedLoss(model, processor.tokenizer, Marks(weight=weight))
    value, seen = loss(model, batch)
    loss.close()
    alone, _ = sft_loss(model, batch)
    assert float(value.detach()) == pytest.approx(float(alone.detach() + weight * seen["marks_loss"].detach()))
    assert not model.model.language_model.layers[0]._forward_hooks
