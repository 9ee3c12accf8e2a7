"""What the order of rows is worth: as they come and padded, batches of like length, and rows behind one another.

The same rows are learned from once, by pico, forward and backward; only what the recipe's `sorted_by_length` and
`packed` say differs. Rows are encoded before the clock starts. The processor's seconds are counted, on one thread, so
that what else the machine does hardly matters; the fewest of the rounds count.

    python benchmarks/rows.py
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from stepsight.prompts.answer import question_text
from stepsight.stages import render
from stepsight.training.encoding.exchange import IGNORED, collate
from stepsight.training.losses import sft_loss
from stepsight.training.recipe.data import StagedRows
from stepsight.training.rows.dataset import StagedDataset
from stepsight.world.drawing import draw_picture
from stepsight.world.split import pose, save_picture

BATCH = 8


def write_rows(folder: Path, count: int, seed: int) -> StagedRows:
    """Rows about a picture of one to four exchanges, a third of them answered in stages, the others in a word."""
    rng = random.Random(seed)
    lines = []
    for number in range(count):
        said = []
        for one in range(rng.choice([1, 1, 2, 4])):
            posed = pose("train", seed=seed, index=number * 10 + one)
            staged = rng.random() < 1 / 3
            said.append({"from": "human", "value": question_text(posed.question())})
            said.append({"from": "gpt", "value": render(posed.stages) if staged else str(posed.question().answer)})
            if not one:
                save_picture(draw_picture(posed.scene), folder / f"{number}.png")
        lines.append(json.dumps({"id": str(number), "image": f"{number}.png", "conversations": said}))
    path = folder / "train.jsonl"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return StagedRows(rows=path, images=folder, sorted_by_length=False)


def batches_of(data: StagedRows, processor: Any, rows: int) -> list[dict[str, torch.Tensor]]:
    """An epoch's batches; packed, a batch has about as many tokens as `rows` rows."""
    dataset = StagedDataset(data, processor, batch=rows)
    items = [dataset[index] for index in range(dataset.per_epoch)]
    pad = processor.tokenizer.pad_token_id
    return [collate(items[start : start + rows], pad) for start in range(0, len(items), rows)]


def learn(model: Any, batches: list[dict[str, torch.Tensor]]) -> float:
    """The processor's seconds for the losses and gradients of all batches."""
    started = time.process_time()
    for batch in batches:
        model.zero_grad()
        torch.autograd.backward(sft_loss(model, batch)[0])
    return time.process_time() - started


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    folder = str(files("stepsight") / "pico")
    processor = cast(Any, AutoProcessor).from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as made:
        plain = write_rows(Path(made), chosen.rows, chosen.seed)
        dataset = StagedDataset(plain, processor)
        lengths = [len(dataset[index].ids) for index in range(chosen.rows)]
        packed = {
            f"packed up to {context}": batches_of(
                plain.model_copy(update={"packed": True, "context": context}),
                processor,
                max(1, round(BATCH * sum(lengths) / len(lengths) / context)),
            )
            for context in (max(lengths), 2 * max(lengths))
        }
        arrangements = {
            "padded": batches_of(plain, processor, BATCH),
            "sorted by length": batches_of(plain.model_copy(update={"sorted_by_length": True}), processor, BATCH),
            **packed,
        }
    seconds: dict[str, list[float]] = {name: [] for name in arrangements}
    for _ in range(chosen.rounds):
        for name, batches in arrangements.items():
            seconds[name].append(learn(model, batches))
    print(
        f"{chosen.rows} rows of {min(lengths)} to {max(lengths)} tokens, {sum(lengths)} in all; {chosen.rounds} rounds"
    )
    print(f"{'':20} {'batches':>8} {'padding':>8} {'seconds':>8} {'tokens/s':>9} {'ratio':>6}")
    slowest = min(seconds["padded"])
    for name, batches in arrangements.items():
        learned = sum(int((batch["labels"] != IGNORED).sum()) for batch in batches)
        computed = sum(batch["labels"].numel() for batch in batches)
        fastest = min(seconds[name])
        print(
            f"{name:20} {len(batches):8} {1 - sum(lengths) / computed:8.1%} {fastest:8.2f} "
            f"{learned / fastest:9.0f} {slowest / fastest:6.2f}"
        )


if __name__ == "__main__":
    main()
