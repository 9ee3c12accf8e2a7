"""Two looks at one model by each of several processes, whole copies and then shards; run by a launcher.

python -m torch.distributed.run --standalone --nproc-per-node 2 tests/training/watching/together.py RECIPE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from tests.training.watching.test_stage_losses import trainer_of
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerState

from stepsight.recipes import load_recipe
from stepsight.training.recipe.train import StartFromFolder, TrainRecipe
from stepsight.training.watching.callback import Watch


def main() -> None:
    recipe = load_recipe(Path(sys.argv[1]), TrainRecipe)
    assert isinstance(recipe.start, StartFromFolder)
    models: Any = AutoModelForImageTextToText
    processors: Any = AutoProcessor
    model = models.from_pretrained(recipe.start.folder, dtype=torch.float32)
    processor = processors.from_pretrained(recipe.start.folder)
    trainer = trainer_of(model, processor, recipe.out, 2)
    state = TrainerState(is_world_process_zero=trainer.is_world_process_zero())
    watch = Watch(trainer, recipe, processor)
    watch.look(state, asks=True)
    if trainer.accelerator.num_processes > 1:
        for layer in (*model.model.language_model.layers, *model.model.vision_tower.encoder.layers):
            fully_shard(layer)
        fully_shard(model)
        assert type(model.lm_head.weight).__name__ == "DTensor"
    state.global_step = 1
    watch.look(state, asks=False)
    # Nothing is left waiting for another process.
    trainer.accelerator.wait_for_everyone()
    if trainer.accelerator.num_processes > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
