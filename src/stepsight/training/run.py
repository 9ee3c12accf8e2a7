"""Run a training recipe through `transformers.Trainer`: progress bar, checkpoints, resume, seed, log.

On several devices every process of a launcher runs this; the first alone writes and prints. Import this module only
after `extras.require_training`.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from stepsight.locks import alone
from stepsight.recipes import load_recipe, save_resolved
from stepsight.training.arguments import check_options, training_arguments
from stepsight.training.checkpoints import is_complete, last_checkpoint
from stepsight.training.devices import Devices, check_devices, join_devices, launched_devices, wait_for_all
from stepsight.training.encoding.exchange import collate
from stepsight.training.encoding.preview import preview_patches, preview_rows
from stepsight.training.interrupts import StopWhenAsked, listen_for_stops
from stepsight.training.lessons.align import AlignLoss, Patches
from stepsight.training.lessons.graded import Graded
from stepsight.training.lessons.practice import Practice
from stepsight.training.losses import MarkedLoss, RewardLoss, sft_loss, sft_weights
from stepsight.training.model.adapters import add_adapters
from stepsight.training.model.products import use_onednn
from stepsight.training.model.start import start_model, start_processor
from stepsight.training.model.towers import freeze, text_model
from stepsight.training.pictureless import WithPicture
from stepsight.training.recipe.data import GradedAnswers, StagedRows, WorldLessons
from stepsight.training.recipe.train import TrainRecipe
from stepsight.training.rows.dataset import StagedDataset
from stepsight.training.saving import gather_weights, save_merged, whole_model
from stepsight.training.schedule import FallingByEpoch, count_steps
from stepsight.training.trainer import LogFile, Loss, StagedTrainer
from stepsight.training.watching.callback import check_watching, watch

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
        InputError: the data hold nothing to learn from, the run cannot be computed on these devices, or another run is
            in its folder.
        KeyboardInterrupt: the run was asked to stop, and has saved a checkpoint.
    """
    recipe = load_recipe(recipe_path, TrainRecipe, overrides)
    recipe = recipe.model_copy(update={"out": out or recipe.out})
    folder, final = recipe.out, recipe.out / "model"
    if resume and not dry_run and (final / "config.json").exists():
        return final
    devices = launched_devices()
    check_devices(recipe, devices, recipe_path)
    processor = start_processor(recipe, recipe_path)
    check_options(recipe)
    dataset, epoch = _dataset(recipe, processor)
    steps = count_steps(recipe.optimisation, epoch)
    dataset.length = steps * recipe.optimisation.batch
    first = dataset[0]  # what cannot be encoded fails here, before the model is loaded
    check_watching(recipe)
    if dry_run:
        if devices.main:
            batch = [first, *(dataset[index] for index in range(1, recipe.optimisation.batch))]
            print(preview_patches(batch) if recipe.task == "align" else preview_rows(batch, processor))
        return final
    with alone(folder / "log.jsonl" if devices.main else None):
        join_devices(recipe, devices)
        set_seed(recipe.optimisation.seed)
        model = start_model(recipe, processor)
        kept = recipe.optimisation.blend < 1 and devices.main
        begun = {name: value.clone() for name, value in model.state_dict().items()} if kept else {}
        if devices.main:
            _prepare(folder, recipe, afresh=not resume)
        wait_for_all(devices)
        falling = FallingByEpoch(recipe.optimisation, epoch) if recipe.optimisation.schedule == "step" else None
        trainer = _trainer(recipe, model, processor, dataset, devices, steps, falling)
        use_onednn(trainer)
        watch(trainer, recipe, processor)
        checkpoint = last_checkpoint(folder)
        stop = StopWhenAsked()
        trainer.add_callback(stop)
        with listen_for_stops(stop):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if stop.stopped:
            if devices.main:
                print(
                    f"stopped at {last_checkpoint(folder)}; the same command goes on from there",
                    file=sys.stderr,
                    flush=True,
                )
            raise KeyboardInterrupt
        _save(recipe, trainer, processor, begun, devices)
    return final


def _save(
    recipe: TrainRecipe, trainer: StagedTrainer, processor: Any, begun: dict[str, torch.Tensor], devices: Devices
) -> None:
    folder, final = recipe.out, recipe.out / "model"
    weights = gather_weights(trainer)
    if devices.main:
        # Written beside and renamed when complete: a folder `model` is a whole model.
        saved = folder / "model.part"
        shutil.rmtree(saved, ignore_errors=True)
        if recipe.lora:
            base = start_model(recipe, processor)
            adapted: Any = trainer.model
            save_merged(adapted, weights, base, folder / "adapter", saved)
        else:
            blend = recipe.optimisation.blend
            weights |= {name: value.lerp(weights[name].to(value), blend) for name, value in begun.items()}
            whole_model(trainer, weights).save_pretrained(saved)
        processor.save_pretrained(saved)
        if isinstance(recipe.data, GradedAnswers):
            card = {"name": folder.name, "words": recipe.data.words, "gather": "product"}
            (saved / "stepsight.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        saved.rename(final)
    wait_for_all(devices)


def _prepare(folder: Path, recipe: TrainRecipe, *, afresh: bool) -> None:
    """Make the run's folder, without what an earlier run left there: all of it, or checkpoints that are torn."""
    left = [path for path in folder.glob("checkpoint-*") if afresh or not is_complete(path)]
    for path in (*left, *((folder / "model", folder / "adapter", folder / "runs") if afresh else ())):
        shutil.rmtree(path, ignore_errors=True)
    if afresh:
        (folder / "log.jsonl").unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    save_resolved(recipe, folder / "recipe.yaml")


def _dataset(recipe: TrainRecipe, processor: Any) -> tuple[Any, int]:
    """What the run reads, one row per lesson of every step, its `length` still to be set; and the rows of an epoch."""
    batch = recipe.optimisation.batch
    if isinstance(recipe.data, WorldLessons):
        return Practice(recipe.data, processor, batch=batch, length=0), 0
    if isinstance(recipe.data, GradedAnswers):
        return Graded(recipe.data, processor, batch=batch, length=0), 0
    if isinstance(recipe.data, StagedRows):
        rows = StagedDataset(recipe.data, processor, batch=batch, length=0)
        if rows.faults and launched_devices().main:
            logger.warning("%d rows are set aside, %d are left", len(rows.faults), len(rows.rows))
            for fault in rows.faults[:SHOWN_FAULTS]:
                logger.warning("%s", fault)
        return rows, rows.per_epoch
    return Patches(processor, seed=7, length=0), 0


def _trainer(
    recipe: TrainRecipe,
    model: Any,
    processor: Any,
    dataset: Any,
    devices: Devices,
    steps: int,
    falling: FallingByEpoch | None,
) -> StagedTrainer:
    how = recipe.optimisation
    freeze(model, vision=recipe.freeze_vision, text=recipe.freeze_text)
    loss = _loss(recipe, model, processor)
    if how.compile:
        # In place: `torch.compile` would wrap the module, and every weight's name would change.
        text_model(model).compile(dynamic=True)
    if recipe.lora:
        model = add_adapters(model, recipe.lora)
    pad: Any = partial(collate, pad=processor.tokenizer.pad_token_id)
    return StagedTrainer(
        loss=loss,
        processor=processor,
        falling=falling,
        model=model,
        args=training_arguments(recipe, model, devices, steps),
        train_dataset=dataset,
        data_collator=None if recipe.task == "align" else pad if _whole(recipe) else WithPicture(pad, processor),
        callbacks=[LogFile(recipe.out / "log.jsonl")],
    )


def _loss(recipe: TrainRecipe, model: Any, processor: Any) -> Loss:
    if recipe.task == "align":
        return Loss(AlignLoss(processor.tokenizer, recipe.names, keep=recipe.keep, model=model))
    if isinstance(recipe.data, WorldLessons) and recipe.data.marks:
        marked = MarkedLoss(model, processor.tokenizer, recipe.data.marks)
        return Loss(marked, marked.weigh)
    if isinstance(recipe.data, GradedAnswers):
        graded = RewardLoss(processor.tokenizer, recipe.data.words, recipe.data.wrong)
        return Loss(graded, graded.weigh)
    return Loss(sft_loss, sft_weights)


def _whole(recipe: TrainRecipe) -> bool:
    """Whether every device has the whole model."""
    return recipe.sharding.way == "none"
