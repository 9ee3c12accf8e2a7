"""Watching a run: every so many steps held-out answers are measured, questions asked, and curves drawn.

    <run>/watch.jsonl                  one `Watched` a line
    <run>/watch/answers-<step>.jsonl   the answers, as traces (`stepsight show`)
    <run>/curves.png, curves.svg       drawn anew each time (`stepsight curves`)

Training does not notice: a run that is watched has the losses of one that is not. Under several processes each measures
and asks its share, and the first writes. A model that is sharded over them (FSDP, ZeRO-3) is measured, but not asked:
the engine runs layers by themselves, and a sharded model runs as a whole only; `stepsight eval` asks its checkpoints.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from accelerate.utils import gather_object
from tqdm.auto import tqdm
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback

from stepsight.jsonl import append_jsonl
from stepsight.tracefiles import write_traces
from stepsight.training.recipe.train import StartFromFolder, TrainRecipe
from stepsight.training.watching.answering import ask, check_askable
from stepsight.training.watching.aside import aside
from stepsight.training.watching.curves import check_curves, draw_run
from stepsight.training.watching.held_out import hold_out, sound_rows
from stepsight.training.watching.stage_losses import measure_stages
from stepsight.training.watching.stage_tokens import StageTokens
from stepsight.training.watching.watched import (
    WATCH,
    Answers,
    StageLosses,
    Watched,
    forget_after,
    logged_values,
    sum_up,
    told_in_a_line,
)

logger = logging.getLogger(__name__)


def check_watching(recipe: TrainRecipe) -> None:
    """Make sure, before a model is loaded, that a run can be watched as its recipe says, if it says so.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError, RecordError: the held-out rows cannot be used.
    """
    watching = recipe.watching
    if watching is None:
        return
    check_curves()
    if watching.rows is not None and watching.images is not None:
        sound_rows(watching.rows, watching.images)


def watch(trainer: Trainer, recipe: TrainRecipe, processor: Any) -> None:
    """Have a run watched as its recipe says, if it says so.

    Raises:
        ModelError: the engine cannot run the model.
        InputError, RecordError: the held-out rows cannot be used.
    """
    if recipe.watching is None:
        return
    if recipe.watching.samples and recipe.sharding.way == "none":
        check_askable(trainer.model)
    for shown in (ProgressCallback, PrinterCallback):
        if trainer.pop_callback(shown) is not None:
            trainer.add_callback(_without_watching(shown)())
    trainer.add_callback(Watch(trainer, recipe, processor))


class Watch(TrainerCallback):
    """Looks at the model before the first step, every so many steps, and after the last.

    Before the first step only a model that was trained before is asked: another has nothing to say, at full length.
    """

    def __init__(self, trainer: Trainer, recipe: TrainRecipe, processor: Any) -> None:
        assert recipe.watching is not None
        self.trainer, self.processor, self.watching, self.run = trainer, processor, recipe.watching, recipe.out
        self.folder = recipe.out / "watch"
        self.stages = StageTokens(processor.tokenizer)
        self.trained_before = isinstance(recipe.start, StartFromFolder)
        self.asks = bool(self.watching.samples) and recipe.sharding.way == "none"
        with trainer.accelerator.local_main_process_first():
            self.held = hold_out(self.watching, self.folder / "questions")
        if self.watching.losses:
            self.held[0].encode(processor)  # what cannot be encoded fails here
        if self.watching.samples and not self.asks and trainer.is_world_process_zero():
            logger.warning("the model is sharded: no questions are asked while it trains, losses are measured")

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget what is going to be done again; look at the model that training starts from."""
        begins = state.global_step == 0
        if state.is_world_process_zero:
            last = -1 if begins else state.global_step
            forget_after(self.run, last)
            for path in self.folder.glob("answers-*.jsonl"):
                if int(path.stem.rpartition("-")[2]) > last:
                    path.unlink()
        if begins:
            self.look(state, asks=self.asks and self.trained_before)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Look, if it is time; before a checkpoint of the same step is saved."""
        if state.global_step % self.watching.every == 0 or state.global_step == state.max_steps:
            self.look(state, asks=self.asks)

    def look(self, state: Any, *, asks: bool) -> None:
        """Measure, ask if so wanted, write and tell."""
        begun = time.perf_counter()
        with aside(self.trainer.model):
            losses = self._measured()
            answers = self._asked(state) if asks else None
        watched = Watched(
            step=state.global_step, losses=losses, answers=answers, seconds=round(time.perf_counter() - begun, 2)
        )
        if state.is_world_process_zero:
            append_jsonl(self.run / WATCH, [watched])
            tqdm.write(told_in_a_line(watched), file=sys.stderr)
        self._log(logged_values(watched))
        if state.is_world_process_zero:
            self._draw()

    def _measured(self) -> StageLosses | None:
        held = self.held[: self.watching.losses]
        return measure_stages(self.trainer, self.processor, self.stages, held) if held else None

    def _asked(self, state: Any) -> Answers:
        accelerator = self.trainer.accelerator
        questions = [one.question for one in self.held[: self.watching.samples]]
        own = questions[accelerator.process_index :: accelerator.num_processes]
        traces, failed = ask(self.trainer.model, self.processor, own, max_tokens=self.watching.max_tokens)
        if accelerator.num_processes > 1:
            traces = gather_object(traces)
            failed = dict(gather_object(list(failed.items())))
        if state.is_world_process_zero:
            order = {question.id: place for place, question in enumerate(questions)}
            traces.sort(key=lambda trace: order[trace.question.id])
            write_traces(self.folder / f"answers-{state.global_step:06d}.jsonl", traces)
            for why in sorted(set(failed.values())):
                logger.warning("%d questions were not answered: %s", list(failed.values()).count(why), why)
        return sum_up(traces, failed)

    def _log(self, values: dict[str, float]) -> None:
        # Logging ends the wish to log, and so would the line of training that is due in the same step be lost; the
        # means of what training has seen would end with our own way to log.
        due = self.trainer.control.should_log
        Trainer.log(self.trainer, values)
        self.trainer.control.should_log = due

    def _draw(self) -> None:
        try:
            draw_run(self.run)
        except OSError as error:
            # A full disk is no reason to lose the run; the curves can be drawn later.
            logger.warning("no curves are drawn: %s", error)


def _without_watching(shown: type[Any]) -> type[Any]:
    """The library's way of showing what is logged, without what `Watch` says in a line of its own."""

    class Shown(shown):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if not any(name.startswith("eval_") for name in logs or ()):
                super().on_log(args, state, control, logs=logs, **more)

    return Shown
