"""Losses by stage are those of the model's own logits, whatever the family, the batch, and what wraps the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engines.transformers.tiny import FAMILIES, Tiny, make_tiny
from torch.nn import functional
from transformers import TrainingArguments

from stepsight.protocols import Turn
from stepsight.stages import STAGES
from stepsight.training.encoding.exchange import IGNORED, collate
from stepsight.training.losses import sft_loss, sft_weights
from stepsight.training.recipe.steps import Watching
from stepsight.training.trainer import Loss, StagedTrainer
from stepsight.training.watching.aside import aside
from stepsight.training.watching.held_out import HeldOut, hold_out
from stepsight.training.watching.stage_losses import measure_stages, token_losses
from stepsight.training.watching.stage_tokens import StageTokens
from stepsight.training.watching.watched import ALL, StageLosses


def trainer_of(model: Any, processor: Any, folder: Path, batch: int) -> StagedTrainer:
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch,
        use_cpu=True,
        report_to=[],
        remove_unused_columns=False,
    )
    pad = processor.tokenizer.pad_token_id
    return StagedTrainer(
        loss=Loss(sft_loss, sft_weights),
        processor=processor,
        model=model,
        args=arguments,
        data_collator=lambda rows: collate(rows, pad),
    )


@pytest.fixture
def held(tmp_path: Path) -> list[HeldOut]:
    return hold_out(Watching(every=1, losses=5, samples=3), tmp_path / "questions")


def by_hand(model: Any, processor: Any, held: list[HeldOut]) -> dict[str, list[float]]:
    """Losses of a row alone, told apart by where the tags stand among the tokens: pico has one token for each."""
    tokenizer = processor.tokenizer
    tags = {tokenizer.convert_tokens_to_ids(tag): stage for stage in STAGES for tag in (stage.open, stage.close)}
    found: dict[str, list[float]] = {}
    for one in held:
        row = one.encode(processor)
        with torch.no_grad():
            logits = model(input_ids=row.ids[None], **row.pictures, use_cache=False).logits[0]
        losses = functional.cross_entropy(logits[:-1], row.labels[1:], reduction="none", ignore_index=IGNORED)
        current = None
        tokens = [*row.labels[1:].tolist(), IGNORED]
        for place, (token, loss) in enumerate(zip(tokens, losses.tolist(), strict=False)):
            if token == IGNORED:
                continue
            tag = tags.get(token)
            beside_tag = {tokens[place - 1], tokens[place + 1]} & tags.keys()
            blank = not tokenizer.decode([token]).strip() and beside_tag
            part = "tags" if tag or current is None or blank else current.key
            found.setdefault(part, []).append(loss)
            if tag is not None:
                current = None if tokenizer.decode([token]) == tag.close else tag
    return found


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_parts_have_the_losses_of_their_own_tokens(
    model: Any, processor: Any, held: list[HeldOut], tmp_path: Path, batch: int
) -> None:
    trainer = trainer_of(model, processor, tmp_path, batch)
    with aside(model):
        measured = measure_stages(trainer, processor, StageTokens(processor.tokenizer), held)
        expected = by_hand(model, processor, held)
    assert measured.rows == 5
    assert measured.tokens == {part: len(expected[part]) for part in measured.tokens if part != ALL} | {
        ALL: sum(map(len, expected.values()))
    }
    assert measured.tokens.keys() == expected.keys() | {ALL}
    for part, losses in expected.items():
        assert measured.loss[part] == pytest.approx(sum(losses) / len(losses), abs=1e-4), part
    every = [loss for losses in expected.values() for loss in losses]
    assert measured.loss[ALL] == pytest.approx(sum(every) / len(every), abs=1e-4)


def test_a_token_that_is_predicted_counts_as_right(
    model: Any, processor: Any, held: list[HeldOut], tmp_path: Path
) -> None:
    # A head that always says one token is right exactly where that token stands.
    word = processor.tokenizer(" yes", add_special_tokens=False)["input_ids"][0]
    labels = torch.cat([one.encode(processor).labels for one in held])

    class Always(torch.nn.Module):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(*hidden.shape[:-1], len(processor.tokenizer))
            logits[..., word] = 30.0
            return logits

    model.lm_head = Always()
    trainer = trainer_of(model, processor, tmp_path, 2)
    with aside(model):
        measured = measure_stages(trainer, processor, StageTokens(processor.tokenizer), held)
    count = int((labels == word).sum())
    assert count
    assert measured.token_accuracy[ALL] == pytest.approx(count / measured.tokens[ALL])
    assert measured.token_accuracy["tags"] == 0
    assert measured.loss[ALL] == pytest.approx(30 * (1 - count / measured.tokens[ALL]), rel=1e-3)


def test_a_model_that_knows_nothing_has_the_loss_of_a_guess(
    model: Any, processor: Any, held: list[HeldOut], tmp_path: Path
) -> None:
    torch.nn.init.zeros_(model.lm_head.weight)
    with aside(model):
        measured: StageLosses = measure_stages(
            trainer_of(model, processor, tmp_path, 3), processor, StageTokens(processor.tokenizer), held
        )
    for part, loss in measured.loss.items():
        assert loss == pytest.approx(math.log(len(processor.tokenizer)), abs=1e-4), part


@pytest.fixture(scope="module", params=FAMILIES)
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return make_tiny(request.param)


def test_every_family_gives_the_losses_of_its_labelled_tokens(tiny: Tiny, picture: Path) -> None:
    batch = dict(tiny.inputs((Turn("user", "What is there?", (picture,)), Turn("assistant", "a red ball"))))
    labels = torch.full_like(batch["input_ids"], IGNORED)
    labels[:, -9:-5] = batch["input_ids"][:, -9:-5]
    labels[:, -2:] = batch["input_ids"][:, -2:]
    with torch.no_grad():
        logits = tiny.model(**batch, use_cache=False).logits
        # What a collator adds for the trainer's own use is no business of the model's.
        losses, right = token_losses(tiny.model, {**batch, "labels": labels, "weights": labels.float()})
    where = labels[:, 1:] != IGNORED
    expected = functional.cross_entropy(logits[:, :-1][where].float(), labels[:, 1:][where], reduction="none")
    assert torch.allclose(losses, expected, atol=1e-4)
    assert right.tolist() == (logits[:, :-1][where].argmax(-1) == labels[:, 1:][where]).float().tolist()


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    path = tmp_path_factory.mktemp("pictures") / "one.png"
    Image.effect_noise((40, 40), 60).convert("RGB").save(path)
    return path


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_adapters_are_part_of_what_is_measured(model: Any, processor: Any, held: list[HeldOut], tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    measure: Callable[[Any], StageLosses] = lambda one: measure_stages(  # noqa: E731
        trainer_of(one, processor, tmp_path, 2), processor, StageTokens(processor.tokenizer), held
    )
    with aside(model):
        plain = measure(model)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=r".*language_model.*q_proj"))
    assert measure(adapted).loss == pytest.approx(plain.loss)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    assert measure(adapted).loss[ALL] != pytest.approx(plain.loss[ALL], abs=1e-4)
