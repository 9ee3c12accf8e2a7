"""Run a training recipe through `transformers.Trainer`: progress bar, checkpoints, resume, seed, log."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from stepsight.errors import InputError
from stepsight.recipes import load_recipe, save_resolved
from stepsight.training.align import AlignLoss, Patches
from stepsight.training.encoding import collate
from stepsight.training.losses import sft_loss
from stepsight.training.pico import build_model, build_processor, build_tokenizer
from stepsight.training.practice import Practice
from stepsight.training.recipe import StartFromFolder, TrainRecipe, WorldLessons


Loss = Callable[[Any, dict[str, torch.Tensor]], tuple[torch.Tensor, dict[str, torch.Tensor]]]
"""From a model and a batch to the loss and to what else is worth logging."""


class StagedTrainer(Trainer):
    """`Trainer` with our loss, reading the dataset in its own order (which is already random)."""

    def __init__(self, *, loss: Loss, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.loss = loss
        self.seen: dict[str, torch.Tensor] = {}

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **_: Any) -> Any:
        loss, self.seen = self.loss(model, inputs)
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        seen = {name: round(float(value.detach()), 4) for name, value in self.seen.items()}
        super().log({**logs, **seen}, *args, **kwargs)

    def _get_train_sampler(self, *_: Any) -> torch.utils.data.Sampler:
        return torch.utils.data.SequentialSampler(self.train_dataset)


class LogFile(TrainerCallback):
    """Appends every logged line to `log.jsonl`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **logs}) + "\n")


def train(
    recipe_path: Path,
    *,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    resume: bool = True,
    dry_run: bool = False,
) -> Path:
    """Run a recipe; a run that was killed goes on from its last checkpoint, a finished one is left as it is.

    Returns:
        The folder of the trained model.
    """
    recipe = load_recipe(recipe_path, TrainRecipe, overrides)
    folder = out or recipe.out
    final = folder / "model"
    if resume and (final / "config.json").exists():
        return final
    set_seed(recipe.optimisation.seed)
    model, processor = _start(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    save_resolved(recipe, folder / "recipe.yaml")
    trainer = _trainer(recipe, model, processor, folder)
    checkpoint = _last_checkpoint(folder) if resume else None
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    saved = folder / "model.part"
    shutil.rmtree(saved, ignore_errors=True)
    model.save_pretrained(saved)
    processor.save_pretrained(saved)
    saved.rename(final)
    return final


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole: `trainer_state.json` is written last."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _start(recipe: TrainRecipe) -> tuple[Any, Any]:
    if isinstance(recipe.start, StartFromFolder):
        source = recipe.start.folder
        return AutoModelForImageTextToText.from_pretrained(source), AutoProcessor.from_pretrained(source)
    tokenizer = build_tokenizer()
    return build_model(recipe.start.build, tokenizer), build_processor(recipe.start.build, tokenizer)


def _trainer(recipe: TrainRecipe, model: Any, processor: Any, folder: Path) -> Trainer:
    how = recipe.optimisation
    length = how.steps * how.batch
    if recipe.freeze_vision:
        model.model.vision_tower.requires_grad_(False)
    collator: Any = None
    loss: Loss = sft_loss
    if recipe.task == "align":
        dataset: Any = Patches(processor, seed=7, length=length)
        loss = AlignLoss(processor.tokenizer)
    elif isinstance(recipe.data, WorldLessons):
        dataset = Practice(recipe.data, processor, batch=how.batch, length=length)
        pad = processor.tokenizer.pad_token_id

        def collator(rows: Any) -> Any:
            return collate(rows, pad)
    else:
        raise InputError("sft needs `data`", hint="name a mixture of lessons or a file of rows")
    if how.compile:
        # In place: `torch.compile` would wrap the module, and every weight's name would change.
        model.model.language_model.compile(dynamic=True)
    arguments = TrainingArguments(
        output_dir=str(folder),
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
    return StagedTrainer(
        loss=loss,
        model=model,
        args=arguments,
        train_dataset=dataset,
        data_collator=collator,
        callbacks=[LogFile(folder / "log.jsonl")],
    )


def bf16_here() -> bool:
    """Whether this machine multiplies bfloat16 in hardware, so that computing in it is faster."""
    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported()) or bool(
        torch.cpu._is_amx_tile_supported()
    )
