"""Two steps of training for every family; a script for several processes, and a function for one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tests.engines.transformers.tiny_models import FAMILIES, build
from torch.utils.data import Dataset

from stepsight.training.arguments import training_arguments
from stepsight.training.devices import join_devices, launched_devices
from stepsight.training.losses import sft_loss, sft_weights
from stepsight.training.recipe.train import TrainRecipe
from stepsight.training.saving import gather_weights, whole_model
from stepsight.training.trainer import LogFile, Loss, StagedTrainer

TEXTS = ("the red one", "a small cube stands behind it", "two", "what else is there to be seen here")


class Ready(Dataset[dict[str, torch.Tensor]]):
    """Rows that are batches already: a picture, and some text of which every token is learned."""

    def __init__(self, processor: Any, vocabulary: int) -> None:
        self.rows = []
        for number, text in enumerate(TEXTS):
            turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
            prompt = processor.apply_chat_template(turns)
            picture = Image.new("RGB", (16, 16), (60 * number, 30, 60))
            batch = processor(text=[prompt], images=[picture], return_tensors="pt", add_special_tokens=False)
            labels = batch["input_ids"].clone()
            labels[labels >= vocabulary] = -100
            self.rows.append({**batch, "labels": labels, "weights": torch.ones(labels.shape)})

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.rows[index]


def two_steps(family: str, folder: Path, *, way: str, accumulate: int) -> Path:
    """Train a tiny model for two steps of two rows; the folder in which its weights and its log are."""
    out = folder / f"{family}-{way}"
    recipe = TrainRecipe.model_validate(
        {
            "task": "sft",
            "start": {"folder": "tiny"},
            "data": {"rows": "none.jsonl", "images": "none"},
            "optimisation": {"steps": 2, "batch": 2, "accumulate": accumulate, "learning_rate": 1e-2, "warmup": 0}
            | {"bf16": False, "workers": 0, "log_every": 1, "save_every": 9, "checkpointing": True},
            "sharding": {"way": way},
            "out": str(out),
        }
    )
    devices = launched_devices()
    join_devices(recipe, devices)
    torch.manual_seed(0)
    model, processor = build(family)
    out.mkdir(exist_ok=True)
    trainer = StagedTrainer(
        loss=Loss(sft_loss, sft_weights),
        processor=processor.tokenizer,
        model=model,
        args=training_arguments(recipe, model, devices, steps=2),
        train_dataset=Ready(processor, model.config.get_text_config().vocab_size),
        data_collator=lambda rows: dict(rows[0]),
        callbacks=[LogFile(out / "log.jsonl")],
    )
    trainer.train()
    weights = gather_weights(trainer)
    if devices.main:
        whole_model(trainer, weights).save_pretrained(out / "model")
    return out


if __name__ == "__main__":
    for name in FAMILIES:
        two_steps(name, Path(sys.argv[1]), way="fsdp", accumulate=1)
