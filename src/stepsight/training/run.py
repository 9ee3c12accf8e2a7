"""Run a training recipe through `transformers.Trainer`: progress bar, checkpoints, resume, seed, log.

One device, and no accumulation of gradients, are covered. Import this module only after `extras.require_training`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments, set_seed

from stepsight.errors import InputError
from stepsight.recipes import load_recipe, save_resolved
from stepsight.training.align import AlignLoss, Patches
from stepsight.training.encoding import collate
from stepsight.training.graded import Graded
from stepsight.training.losses import MarkedLoss, RewardLoss, sft_loss
from stepsight.training.practice import Practice
from stepsight.training.preview import preview_patches, preview_rows
from stepsight.training.products import use_onednn
from stepsight.training.recipe import TrainRecipe
from stepsight.training.recipe_data import GradedAnswers, StagedRows, WorldLessons
from stepsight.training.rows import StagedDataset
from stepsight.training.start import start_model, start_processor
from stepsight.training.trainer import LogFile, Loss, StagedTrainer
from stepsight.training.watching import check_watching, watch

logger = logging.getLogger(__name__)

SHOWN_FAULTS = 5
"""How many of the rows that are set aside are named one by one."""


def train(
    recipe_path: Path,
    *,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    resume: bool = True,
    dry_run: bool = False,
) -> Path:
    """Run a recipe; a run that was killed goes on from its last checkpoint, a finished one is left as it is.

    Args:
        recipe_path: a YAML file that says a `TrainRecipe`.
        overrides: `key=value` texts that change the recipe.
        out: the run's folder, instead of the recipe's.
        resume: False starts over: what an earlier run left in the folder is removed.
        dry_run: check everything, print what the first batch teaches, and neither train nor write anything.

    Returns:
        The folder of the trained model (of a dry run, where it would be).

    Raises:
        RecipeError: the recipe does not check out; every fault is named.
        ModelError: the model to start from is missing or cannot be trained.
        InputError: the data hold nothing to learn from, or several graphics cards are visible.
    """
    recipe = load_recipe(recipe_path, TrainRecipe, overrides)
    recipe = recipe.model_copy(update={"out": out or recipe.out})
    folder, final = recipe.out, recipe.out / "model"
    if resume and not dry_run and (final / "config.json").exists():
        return final
    if torch.cuda.device_count() > 1:
        raise InputError("training runs on one graphics card", hint="choose one: CUDA_VISIBLE_DEVICES=0")
    processor = start_processor(recipe, recipe_path)
    dataset = _dataset(recipe, processor)
    first = dataset[0]  # what cannot be encoded fails here, before the model is loaded
    check_watching(recipe)
    if dry_run:
        batch = [first, *(dataset[index] for index in range(1, recipe.optimisation.batch))]
        print(preview_patches(batch) if recipe.task == "align" else preview_rows(batch, processor))
        return final
    set_seed(recipe.optimisation.seed)
    model = start_model(recipe, processor)
    blend = recipe.optimisation.blend
    begun = {name: value.clone() for name, value in model.state_dict().items()} if blend < 1 else {}
    if not resume:
        _clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_resolved(recipe, folder / "recipe.yaml")
    trainer = _trainer(recipe, model, processor, dataset)
    use_onednn(trainer)
    watch(trainer, recipe, processor)
    checkpoint = _last_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if begun:
        model.load_state_dict({name: begun[name].lerp(value, blend) for name, value in model.state_dict().items()})
    saved = folder / "model.part"
    shutil.rmtree(saved, ignore_errors=True)
    model.save_pretrained(saved)
    processor.save_pretrained(saved)
    if isinstance(recipe.data, GradedAnswers):
        card = {"name": folder.name, "words": recipe.data.words, "gather": "product"}
        (saved / "stepsight.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    saved.rename(final)
    return final


def _clear(folder: Path) -> None:
    for left in (folder / "model", folder / "model.part", *folder.glob("checkpoint-*")):
        shutil.rmtree(left, ignore_errors=True)
    (folder / "log.jsonl").unlink(missing_ok=True)


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole: `trainer_state.json` is written last."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json") if _is_json(path)]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _dataset(recipe: TrainRecipe, processor: Any) -> Any:
    """What the run reads, one row per lesson of every step."""
    how = recipe.optimisation
    length = how.steps * how.batch
    if isinstance(recipe.data, WorldLessons):
        return Practice(recipe.data, processor, batch=how.batch, length=length)
    if isinstance(recipe.data, GradedAnswers):
        return Graded(recipe.data, processor, batch=how.batch, length=length)
    if isinstance(recipe.data, StagedRows):
        rows = StagedDataset(recipe.data, processor, length=length)
        if rows.faults:
            logger.warning("%d rows are set aside, %d are left", len(rows.faults), len(rows.rows))
            for fault in rows.faults[:SHOWN_FAULTS]:
                logger.warning("%s", fault)
        return rows
    return Patches(processor, seed=7, length=length)


def _trainer(recipe: TrainRecipe, model: Any, processor: Any, dataset: Any) -> Trainer:
    how = recipe.optimisation
    if recipe.freeze_vision:
        model.model.vision_tower.requires_grad_(False)
    if recipe.freeze_text:
        model.model.language_model.requires_grad_(False)
    loss: Loss = sft_loss
    if recipe.task == "align":
        loss = AlignLoss(processor.tokenizer, recipe.names, keep=recipe.keep, model=model)
    if isinstance(recipe.data, WorldLessons) and recipe.data.marks:
        loss = MarkedLoss(model, processor.tokenizer, recipe.data.marks)
    if isinstance(recipe.data, GradedAnswers):
        loss = RewardLoss(processor.tokenizer, recipe.data.words, recipe.data.wrong)
    if how.compile:
        # In place: `torch.compile` would wrap the module, and every weight's name would change.
        model.model.language_model.compile(dynamic=True)
    arguments = TrainingArguments(
        output_dir=str(recipe.out),
        max_steps=how.steps,
        per_device_train_batch_size=how.batch,
        learning_rate=how.learning_rate,
        warmup_steps=how.warmup,
        lr_scheduler_type=how.schedule,
        weight_decay=how.weight_decay,
        max_grad_norm=how.clip,
        bf16=bf16_here() if how.bf16 == "auto" else how.bf16,
        seed=how.seed,
        save_steps=how.save_every,
        save_total_limit=2,
        logging_steps=how.log_every,
        dataloader_num_workers=how.workers,
        dataloader_prefetch_factor=4 if how.workers else None,
        remove_unused_columns=False,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
    )
    align = recipe.task == "align"
    return StagedTrainer(
        loss=loss,
        model=model,
        args=arguments,
        train_dataset=dataset,
        data_collator=None if align else partial(collate, pad=processor.tokenizer.pad_token_id),
        callbacks=[LogFile(recipe.out / "log.jsonl")],
    )


def bf16_here() -> bool:
    """Whether this machine multiplies bfloat16 in hardware, so that computing in it is faster."""
    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported()) or bool(
        torch.cpu._is_amx_tile_supported()
    )
