"""Every family: labels, batches, losses and gradients are those of the library's own way, however rows are mixed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from tests.engines.transformers.tiny import filler_of

from stepsight.engines.transformers.families import family_of
from stepsight.errors import ModelError, PictureError
from stepsight.protocols import Turn
from stepsight.training.encoding.exchange import IGNORED, check_stretch, collate, encode_conversation
from stepsight.training.encoding.families import check_trainable, layout_of
from stepsight.training.encoding.preview import mark_learned, preview_rows
from stepsight.training.losses import sft_loss
from stepsight.training.rows.packing import check_packing, join
from stepsight.world.lessons import Span

from .tiny_rows import EXCHANGES, FAMILIES, PICTURES, Tiny, encoded, tiny, turns_of

UNPACKABLE = {"gemma3", "mllama"}
SHORT = (("And?", "No picture."),)

every_family = pytest.mark.parametrize("family", FAMILIES)


def library_inputs(made: Tiny, rows: list[tuple[Image.Image | None, Any]]) -> dict[str, Any]:
    """What the library's processor makes of rows, padded on the right."""
    texts = [made.processor.apply_chat_template(turns_of(picture, said)) for picture, said in rows]
    images = [[picture] for picture, _ in rows if picture is not None]
    return dict(
        made.processor(
            text=texts,
            images=images or None,
            padding=True,
            padding_side="right",
            add_special_tokens=False,
            return_tensors="pt",
        )
    )


def pad_of(made: Tiny) -> int:
    return int(made.processor.tokenizer.pad_token_id)


def loss_and_gradients(made: Tiny, batch: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    made.model.zero_grad()
    loss, _ = sft_loss(made.model, batch)
    torch.autograd.backward(loss)
    return float(loss.detach()), gradients(made)


def gradients(made: Tiny) -> dict[str, torch.Tensor]:
    """Of all parameters, so that none is missed; of those without one, zeros."""
    return {
        name: torch.zeros_like(value) if value.grad is None else value.grad.clone()
        for name, value in made.model.named_parameters()
    }


def assert_alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    scale = max(float(value.abs().max()) for value in one.values())
    for name, value in one.items():
        assert torch.allclose(value, other[name], rtol=1e-4, atol=1e-5 * max(1.0, scale)), name


@every_family
def test_labels_are_the_replies_and_their_ends_and_prompts_those_of_the_engine(family: str, tmp_path: Path) -> None:
    made = tiny(family)
    tokenizer = made.processor.tokenizer
    PICTURES[1].save(tmp_path / "picture.png")
    _, encoder = filler_of(made)
    for picture in (PICTURES[1], None):
        row = encoded(made.processor, picture)
        learned = row.labels[row.labels != IGNORED]
        assert tokenizer.decode(learned) == "".join(f"{reply}<|end|>" for _, reply in EXCHANGES)
        assert torch.equal(learned, row.ids[row.labels != IGNORED])
        library = library_inputs(made, [(picture, EXCHANGES)])
        assert row.ids.tolist() == library["input_ids"][0].tolist()
        turns: list[Turn] = []
        for user, reply in EXCHANGES:
            shown = (tmp_path / "picture.png",) if picture is not None and not turns else ()
            turns.append(Turn("user", user, shown))
            prompt = encoder.encode(turns).ids.tolist()
            assert row.ids[: len(prompt)].tolist() == prompt
            assert row.labels[len(prompt) - 1] == IGNORED
            assert row.labels[len(prompt)] == row.ids[len(prompt)]
            turns.append(Turn("assistant", reply))


@every_family
def test_a_batch_is_what_the_librarys_processor_makes(family: str) -> None:
    made = tiny(family)
    rows = [encoded(made.processor, picture) for picture in PICTURES]
    library = library_inputs(made, [(picture, EXCHANGES) for picture in PICTURES])
    length = library["input_ids"].shape[1]
    batch = collate(rows, pad_of(made), multiple=1)
    assert batch.keys() - {"labels", "weights"} == library.keys() - {"attention_mask", "batch_num_images"} | (
        batch.keys() & {"batch_num_images"}
    )
    for name, value in library.items():
        if name == "cross_attention_mask":
            mask = library["attention_mask"].bool()
            assert torch.equal(batch[name][mask], value[mask].to(batch[name]))
        elif name != "attention_mask":
            assert torch.equal(batch[name].to(value), value), name
    assert batch["labels"].shape == (3, length)


@every_family
def test_loss_and_gradients_are_the_librarys_own(family: str) -> None:
    made = tiny(family)
    for pictures in ([PICTURES[0], PICTURES[2]], [None, None]):
        said = [(pictures[0], EXCHANGES), (pictures[1], SHORT)]
        batch = collate([encoded(made.processor, *one) for one in said], pad_of(made))
        ours, own = loss_and_gradients(made, batch)
        library = library_inputs(made, said)
        labels = batch["labels"][:, : library["input_ids"].shape[1]]
        made.model.zero_grad()
        theirs = made.model(**library, labels=labels, use_cache=False).loss
        torch.autograd.backward(theirs)
        assert ours == pytest.approx(float(theirs.detach()), abs=1e-5)
        assert_alike(own, gradients(made))


@every_family
def test_only_what_comes_before_a_labelled_token_has_a_gradient(family: str) -> None:
    made = tiny(family)
    batch = collate([encoded(made.processor, PICTURES[0]), encoded(made.processor, PICTURES[1], SHORT)], pad_of(made))
    kept: list[torch.Tensor] = []

    def keep(module: Any, inputs: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    hook = getattr(made.model.model, family_of(made.model.config).language_name).norm.register_forward_hook(keep)
    loss_and_gradients(made, batch)
    hook.remove()
    assert kept[0].grad is not None
    moved = kept[0].grad.abs().sum(-1) > 0
    before = torch.zeros_like(moved)
    before[:, :-1] = batch["labels"][:, 1:] != IGNORED
    assert torch.equal(moved, before)


@every_family
def test_rows_with_and_without_pictures_share_a_batch(family: str) -> None:
    made = tiny(family)
    rows = [
        encoded(made.processor, PICTURES[0]),
        encoded(made.processor, None, SHORT),
        encoded(made.processor, PICTURES[1], SHORT),
        encoded(made.processor, None),
    ]
    together, own = loss_and_gradients(made, collate(rows, pad_of(made)))
    losses, tokens = [], []
    summed = {name: torch.zeros_like(value) for name, value in own.items()}
    for row in rows:
        tokens.append(int((row.labels != IGNORED).sum()))
        loss, found = loss_and_gradients(made, collate([row], pad_of(made)))
        losses.append(loss * tokens[-1])
        for name, value in found.items():
            summed[name] += value * tokens[-1]
    assert together == pytest.approx(sum(losses) / sum(tokens), abs=1e-5)
    assert_alike(own, {name: value / sum(tokens) for name, value in summed.items()})


@every_family
def test_packed_rows_have_the_loss_of_padded_ones_or_are_refused(family: str) -> None:
    made = tiny(family)
    # Pictures at different places, so that one row's layout is not another's.
    rows = [
        encoded(made.processor, PICTURES[0]),
        encoded(made.processor, None, SHORT),
        encoded(made.processor, PICTURES[1], SHORT),
        encoded(made.processor, None),
        encoded(made.processor, PICTURES[2]),
    ]
    if family in UNPACKABLE:
        with pytest.raises(ModelError, match=f"{type(made.processor).__name__} cannot be packed: "):
            check_packing(made.processor)
        return
    check_packing(made.processor)
    padded, own = loss_and_gradients(made, collate(rows, pad_of(made)))
    packs = [join(made.processor, rows[:3]), join(made.processor, rows[3:])]
    batch = collate(packs, pad_of(made))
    assert "attention_mask" not in batch
    packed, other = loss_and_gradients(made, batch)
    assert packed == pytest.approx(padded, abs=1e-5)
    assert_alike(own, other)


def test_the_reason_why_gemma_is_not_packed_still_holds() -> None:
    # If this fails, the library packs such rows rightly by now, and the refusal can go.
    made = tiny("gemma3")
    rows = [encoded(made.processor, PICTURES[0]), encoded(made.processor, None)]
    with torch.no_grad():
        padded, _ = sft_loss(made.model, collate(rows, pad_of(made)))
        packed, _ = sft_loss(made.model, collate([join(made.processor, rows)], pad_of(made)))
    assert abs(float(packed) - float(padded)) > 1e-4


def test_a_row_without_picture_would_see_the_blank_one_beside_it_in_the_librarys_own_batch() -> None:
    # As above: if this fails, `blank_rows_unseen` can go.
    made = tiny("mllama")
    rows = [encoded(made.processor, PICTURES[0]), encoded(made.processor, None)]
    batch = collate(rows, pad_of(made))
    with torch.no_grad():
        exact, _ = sft_loss(made.model, batch)
        library, _ = sft_loss(made.model, {name: value for name, value in batch.items() if name != "pictured"})
    assert abs(float(exact) - float(library)) > 1e-4


@every_family
def test_the_preview_shows_pictures_as_one_and_what_is_learned(family: str) -> None:
    made = tiny(family)
    rows = [encoded(made.processor, PICTURES[0], SHORT), encoded(made.processor, None)]
    shown = mark_learned(rows[0], made.processor)
    assert shown.endswith("And?<|end|><|assistant|>⟦No picture.<|end|>⟧")
    placeholder = made.processor.tokenizer.convert_ids_to_tokens(made.processor.image_token_ids[0])
    assert f"{placeholder}{placeholder}" not in shown
    assert (f"{placeholder}x" in shown) == (family != "mllama")
    assert "2 rows, 1 with a picture" in preview_rows(rows, made.processor)
    if family not in UNPACKABLE:
        packed = preview_rows([join(made.processor, rows)], made.processor)
        assert "1 rows of 2 conversations behind one another, 1 with a picture" in packed


def test_families_that_are_not_known_to_be_exact_are_refused_by_name() -> None:
    for family in FAMILIES:
        check_trainable(tiny(family).model.config)
    for kind, reason in (("paligemma", "both directions"), ("qwen2_vl", "no test shows")):
        with pytest.raises(ModelError, match=f"'{kind}' cannot be trained: .*{reason}"):
            check_trainable(SimpleNamespace(model_type=kind))
    text = SimpleNamespace(model_type="mixtral")
    with pytest.raises(ModelError, match="'mixtral' inside 'llava'"):
        check_trainable(SimpleNamespace(model_type="llava", text_config=text))
    with pytest.raises(ModelError, match="SimpleNamespace cannot be made"):
        layout_of(SimpleNamespace())


def test_a_picture_that_the_processor_refuses_is_an_error_of_its_row() -> None:
    with pytest.raises(PictureError, match="processor refuses the picture"):
        encoded(tiny("qwen3-vl").processor, Image.new("RGB", (2000, 4)))


def test_positions_with_axes_are_not_stretched() -> None:
    check_stretch(tiny("llava-siglip-llama").processor)
    with pytest.raises(ModelError, match="cannot be stretched"):
        check_stretch(tiny("qwen3-vl").processor)


def test_a_row_without_anything_to_learn_is_refused_in_every_family() -> None:

    for family in FAMILIES:
        with pytest.raises(ValueError, match="anything to learn"):
            encode_conversation(tiny(family).processor, [("a", (Span("b", 0.0),))], None)
