"""Training speed: tokens that count a second, of a recipe here and of a plain padded `transformers.Trainer`.

    python benchmarks/training_speed.py                  ours against plain
    python benchmarks/training_speed.py --ladder         each lever put on top of those before it as well

Tokens that count have a label. Every run learns from the same lessons of the world, in batches of the same size, with
the same model of pico's sizes, optimiser, schedule and number of loading processes; it is a process of its own, and the
ways take turns within each round, so that what else the machine does slows all of them down alike.

`plain` is what one writes at first: `Trainer` as it comes, lessons in random order, padded to the longest of their
batch, the model's own loss over logits of every position. On top of it come, on the ladder:

    labelled   logits at labelled positions only
    sorted     windows of lessons sorted by length, padded to a multiple of 8
    compile    the text model compiled
    onednn     float32 products by oneDNN instead of MKL
    bf16       instead of that, products in bfloat16 (mixed precision: the only one that is not exact)

`ours` is `stepsight train` with `compile: true` and `bf16: false`, all but the last. Time is taken
behind `--warmup` steps, in which the text model is compiled; how long those take is told beside. On a busy machine the
processor's time says more than the clock's: `per_cpu_second` counts all threads and the loading processes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.utils.data import Dataset, RandomSampler, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

from stepsight.prompts.judge import judge_prompts
from stepsight.training import run
from stepsight.training.encoding.exchange import IGNORED, Encoded, collate, encode_exchange
from stepsight.training.lessons.practice import WINDOW, Practice
from stepsight.training.losses import sft_loss
from stepsight.training.model.pico import build_model, build_processor, build_tokenizer
from stepsight.training.model.products import use_onednn
from stepsight.training.recipe.data import WorldLessons
from stepsight.training.recipe.train import PicoSizes
from stepsight.training.trainer import StagedTrainer
from stepsight.world.lessons import draw_lesson

LADDER = ("plain", "labelled", "sorted", "compile", "onednn", "bf16")
"""Each rung has the levers of those before it; `bf16` those before `onednn`, which is for float32."""
SEED = 8
RATE = 7e-4


class Stopwatch(TrainerCallback):
    """Time from the end of the warm-up to the last step, and tokens with a label in between."""

    def __init__(self, warmup: int) -> None:
        self.warmup, self.tokens, self.steps, self.losses = warmup, 0, 0, list[float]()
        self.begun = (time.perf_counter(), processor_time())
        self.warm = self.ended = self.begun

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Look at the clock."""
        self.steps = state.global_step
        self.ended = (time.perf_counter(), processor_time())
        if state.global_step == self.warmup:
            self.warm, self.tokens = self.ended, 0

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Keep the loss."""
        if "loss" in logs:
            self.losses.append(logs["loss"])

    def report(self) -> dict[str, float]:
        """What was measured."""
        wall, busy = (end - begin for begin, end in zip(self.warm, self.ended, strict=True))
        return {
            "tokens": self.tokens,
            "steps": self.steps - self.warmup,
            "per_second": round(self.tokens / wall, 1),
            "per_cpu_second": round(self.tokens / busy, 1),
            "warmup_seconds": round(self.warm[0] - self.begun[0], 1),
            "warmup_cpu_seconds": round(self.warm[1] - self.begun[1], 1),
            "last_loss": round(self.losses[-1], 4),
        }


def processor_time() -> float:
    """Seconds of the processor that this process and those which load data have taken so far."""
    taken = time.process_time()
    for child in multiprocessing.active_children():
        # The 14th and 15th field; names may hold blanks, but end with the last parenthesis.
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        taken += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return taken


def timed(kind: Any, watch: Stopwatch) -> Any:
    """A trainer that counts labels and looks at the clock."""

    class Timed(kind):  # type: ignore[misc]
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.add_callback(watch)

        def training_step(self, model: Any, inputs: dict[str, Any], *more: Any) -> Any:
            watch.tokens += int((inputs["labels"][:, 1:] != IGNORED).sum())
            return super().training_step(model, inputs, *more)

    return Timed


class Lessons(Dataset[Encoded]):
    """Lessons of the world, each by its number."""

    def __init__(self, processor: Any, length: int) -> None:
        self.processor, self.length, self.prompts = processor, length, judge_prompts("short-2")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Encoded:
        lesson = draw_lesson("answer", seed=SEED, index=index, prompts=self.prompts)
        return encode_exchange(self.processor, lesson.user, lesson.picture, lesson.spans)


def pad_to_longest(rows: Sequence[Encoded], pad: int) -> dict[str, torch.Tensor]:
    """A batch as most collators make it."""
    batch = collate(rows, pad, multiple=1)
    del batch["weights"]
    lengths = torch.tensor([len(row.ids) for row in rows])
    mask = torch.arange(batch["input_ids"].shape[1]) < lengths[:, None]
    return {**batch, "attention_mask": mask.long()}


def train_plainly(options: argparse.Namespace, folder: Path, watch: Stopwatch) -> None:
    """Train by the library's trainer, with the levers of the ladder up to the one that is asked for."""
    levers = LADDER[1 : LADDER.index(options.way) + 1]
    tokenizer = build_tokenizer()
    processor = build_processor(PicoSizes(), tokenizer)
    set_seed(42)
    model = build_model(PicoSizes(), tokenizer)
    if "compile" in levers:
        model.model.language_model.compile(dynamic=True)
    length = options.steps * options.batch
    data: Dataset[Encoded] = Lessons(processor, length)
    if "sorted" in levers:
        data = Practice(WorldLessons(mixture={"answer": 1.0}, seed=SEED), processor, batch=options.batch, length=length)

    class Plain(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return SequentialSampler(data) if "sorted" in levers else RandomSampler(data)  # type: ignore[arg-type]

        def compute_loss(self, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
            if "labelled" not in levers:
                return super().compute_loss(model, inputs, *more, **named)
            mask = {} if "sorted" in levers else {"attention_mask": inputs["attention_mask"]}
            return sft_loss(
                model, {name: inputs[name] for name in ("input_ids", "pixel_values", "labels", "weights")} | mask
            )[0]

    def put_together(rows: Sequence[Encoded]) -> dict[str, torch.Tensor]:
        pad = int(tokenizer.pad_token_id)
        if "sorted" in levers:
            return collate(rows, pad)
        plain = pad_to_longest(rows, pad)
        return {**plain, "weights": (plain["labels"] != IGNORED).float()} if "labelled" in levers else plain

    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=options.steps,
        per_device_train_batch_size=options.batch,
        learning_rate=RATE,
        warmup_steps=10,
        lr_scheduler_type="constant_with_warmup",
        weight_decay=0.01,
        bf16="bf16" in levers,
        save_strategy="no",
        logging_steps=8,
        dataloader_num_workers=1,
        dataloader_prefetch_factor=4,
        remove_unused_columns=False,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = timed(Plain, watch)(model=model, args=arguments, train_dataset=data, data_collator=put_together)
    if "onednn" in levers:
        use_onednn(trainer)  # which leaves bfloat16 alone
    trainer.train()


def train_by_recipe(options: argparse.Namespace, folder: Path, watch: Stopwatch) -> None:
    """Train as `stepsight train` does."""
    how = {
        **{"steps": options.steps, "batch": options.batch, "learning_rate": RATE, "warmup": 10, "workers": 1},
        **{
            "schedule": "constant_with_warmup",
            "compile": True,
            "bf16": False,
            "save_every": options.steps,
            "log_every": 8,
        },
    }
    recipe = folder / "recipe.yaml"
    data = {"mixture": {"answer": 1.0}, "seed": SEED}
    text = {"task": "sft", "start": {"build": {}}, "data": data, "optimisation": how, "out": str(folder / "run")}
    recipe.write_text(yaml.safe_dump(text), encoding="utf-8")
    run.StagedTrainer = timed(StagedTrainer, watch)  # type: ignore[attr-defined]
    run.train(recipe)


def measure(options: argparse.Namespace) -> None:
    """One run, in this process; prints what was measured."""
    watch = Stopwatch(options.warmup)
    with tempfile.TemporaryDirectory() as folder:
        (train_by_recipe if options.way == "ours" else train_plainly)(options, Path(folder), watch)
    print(json.dumps({"way": options.way, **watch.report()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ladder", action="store_true", help="measure each lever as well")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6 * WINDOW, help=f"of a run; a multiple of {WINDOW}")
    parser.add_argument("--warmup", type=int, default=2 * WINDOW, help="steps of these that are not timed")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--way", choices=[*LADDER, "ours"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps % WINDOW or not 0 < options.warmup < options.steps:
        # Then all ways learn from the same lessons.
        parser.error(f"--steps must be a multiple of {WINDOW}, and beyond --warmup")
    if options.way:
        measure(options)
        return
    ways = (*LADDER, "ours") if options.ladder else ("plain", "ours")
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for turn in range(options.rounds):
        for way in ways:
            command = [sys.executable, __file__, "--way", way, "--steps", str(options.steps)]
            command += ["--warmup", str(options.warmup), "--batch", str(options.batch)]
            done = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"TQDM_DISABLE": "1"}
            )
            line = done.stdout.strip().splitlines()[-1]
            found[way].append(json.loads(line))
            print(json.dumps({"round": turn, **found[way][-1]}), flush=True)
    for way in ways:
        told: dict[str, Any] = {}
        for unit in ("per_second", "per_cpu_second"):
            ratios = [one[unit] / plain[unit] for one, plain in zip(found[way], found["plain"], strict=True)]
            told[unit] = statistics.median(one[unit] for one in found[way])
            told[f"{unit}_to_plain"] = round(statistics.median(ratios), 3)
            told[f"{unit}_to_plain_spread"] = [round(min(ratios), 3), round(max(ratios), 3)]
        print(json.dumps({"way": way, "rounds": options.rounds, **told}))


if __name__ == "__main__":
    main()
