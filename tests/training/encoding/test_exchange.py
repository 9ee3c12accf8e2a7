"""Labels are exactly the assistant's words and end of turn; batches and losses are what they say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from stepsight.errors import ModelError
from stepsight.training.encoding.exchange import IGNORED, Encoded, collate, encode_conversation, encode_exchange
from stepsight.training.encoding.preview import mark_learned, preview_rows
from stepsight.training.losses import sft_loss
from stepsight.training.model.pico import build_processor, build_tokenizer
from stepsight.world.drawing import draw_picture
from stepsight.world.lessons import Span
from stepsight.world.split import pose

from ..conftest import SIZES

TOKENIZER: Any = build_tokenizer()
PROCESSOR = build_processor(SIZES, TOKENIZER)
PICTURE = draw_picture(pose("train", seed=0, index=0).scene)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<|"), min_size=1, max_size=30)


def learned(row: Encoded) -> str:
    return str(TOKENIZER.decode(row.labels[row.labels != IGNORED].tolist()))


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=3), st.booleans())
@settings(max_examples=40)
def test_what_is_learned_is_the_assistants_text_and_its_end(exchanges: list[tuple[str, str]], picture: bool) -> None:
    spans = [(user, (Span(reply),)) for user, reply in exchanges]
    row = encode_conversation(PROCESSOR, spans, PICTURE if picture else None)
    assert learned(row) == "".join(reply + "<|end|>" for _, reply in exchanges)
    patches = (SIZES.picture // SIZES.patch) ** 2
    whole = "".join(f"<|user|>{user}<|end|><|assistant|>{reply}<|end|>" for user, reply in exchanges)
    if picture:
        whole = whole.replace("<|user|>", "<|user|>" + "<image>" * patches, 1)
    assert TOKENIZER.decode(row.ids.tolist()) == whole
    assert row.ids.tolist().count(TOKENIZER.convert_tokens_to_ids("<image>")) == (patches if picture else 0)
    assert (row.pictured > 0) == picture
    assert torch.equal(row.labels != IGNORED, row.weights > 0)
    assert torch.equal(row.labels[row.labels != IGNORED], row.ids[row.labels != IGNORED])


def test_given_spans_are_read_but_not_learned() -> None:
    row = encode_exchange(PROCESSOR, "a?", None, (Span("one"), Span(" two", 0.0), Span(" three", 2.0)))
    assert learned(row) == "one three<|end|>"
    assert TOKENIZER.decode(row.ids.tolist()).endswith("one two three<|end|>")
    assert row.weights[-1] == 1.0
    assert row.weights.max() == 2.0


def test_a_row_without_anything_to_learn_is_refused() -> None:
    with pytest.raises(ValueError, match="anything to learn"):
        encode_exchange(PROCESSOR, "a?", None, (Span("b", 0.0),))


def test_a_template_that_rewrites_earlier_turns_is_refused() -> None:
    rewriting = build_processor(SIZES, TOKENIZER)
    rewriting.chat_template = "{{ messages | length }} turns"
    with pytest.raises(ModelError, match="rewrites earlier turns"):
        encode_conversation(rewriting, [("a", (Span("b"),)), ("c", (Span("d"),))], None)


def rows() -> list[Encoded]:
    return [
        encode_exchange(PROCESSOR, "Is there a cube?", PICTURE, (Span("no, a red sphere"),)),
        encode_exchange(PROCESSOR, "Which?", PICTURE, (Span("1", 8.0),)),
        encode_exchange(PROCESSOR, "And?", None, (Span("given", 0.0), Span(" green"))),
    ]


def test_a_batch_is_padded_on_the_right_and_pads_are_not_learned() -> None:
    encoded = rows()
    batch = collate(encoded, TOKENIZER.pad_token_id, multiple=32)
    length = batch["input_ids"].shape[1]
    assert length % 32 == 0
    assert length - 32 < max(len(row.ids) for row in encoded) <= length
    assert batch["input_ids"].shape == batch["labels"].shape == batch["weights"].shape == (3, length)
    assert batch["pixel_values"].shape == (2, 3, SIZES.picture, SIZES.picture)
    for number, row in enumerate(encoded):
        size = len(row.ids)
        assert torch.equal(batch["input_ids"][number, :size], row.ids)
        assert (batch["input_ids"][number, size:] == TOKENIZER.pad_token_id).all()
        assert (batch["labels"][number, size:] == IGNORED).all()
        assert (batch["weights"][number, size:] == 0).all()
    assert "pixel_values" not in collate(encoded[2:], TOKENIZER.pad_token_id)


def test_the_loss_is_the_weighted_mean_over_labelled_tokens(model: Any) -> None:
    batch = collate(rows(), TOKENIZER.pad_token_id)
    loss, seen = sft_loss(model, batch)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], pixel_values=batch["pixel_values"]).logits
    total = weight = 0.0
    for row in range(3):
        for place in range(1, batch["labels"].shape[1]):
            label = int(batch["labels"][row, place])
            if label != IGNORED:
                here = float(batch["weights"][row, place])
                total -= here * float(logits[row, place - 1].log_softmax(-1)[label])
                weight += here
    assert float(loss.detach()) == pytest.approx(total / weight, rel=1e-5)
    assert 0 <= float(seen["answer_tokens_right"]) <= 1
    assert 0 <= float(seen["verdicts_right"]) <= 1


def test_with_weights_of_one_the_loss_is_the_librarys_own(model: Any) -> None:
    encoded = [encode_exchange(PROCESSOR, "a?", PICTURE, (Span(text),)) for text in ("no", "a red cube", "C3")]
    batch = collate(encoded, TOKENIZER.pad_token_id)
    inputs = {name: batch[name] for name in ("input_ids", "labels", "pixel_values")}
    mask = batch["input_ids"] != TOKENIZER.pad_token_id
    theirs = model(**inputs, attention_mask=mask.long()).loss
    ours = sft_loss(model, batch)[0]
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(ours, functional.cross_entropy(torch.zeros(1, 5), torch.tensor([0])))


def test_no_verdict_in_a_batch_is_no_score(model: Any) -> None:
    batch = collate([encode_exchange(PROCESSOR, "a?", None, (Span("no"),))], TOKENIZER.pad_token_id)
    assert torch.isnan(sft_loss(model, batch)[1]["verdicts_right"])


def test_the_preview_marks_what_is_learned() -> None:
    first, second, third = rows()
    assert mark_learned(first, PROCESSOR) == (
        "<|user|><image>x49Is there a cube?<|end|><|assistant|>⟦no, a red sphere<|end|>⟧"
    )
    assert mark_learned(second, PROCESSOR).endswith("<|assistant|>⟦1⟧x8⟦<|end|>⟧")
    assert mark_learned(third, PROCESSOR).endswith("<|assistant|>given⟦ green<|end|>⟧")
    assert "3 rows, 2 with a picture" in preview_rows(rows(), PROCESSOR)
