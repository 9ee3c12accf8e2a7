"""Graded answers as a dataset: those that a model has written, and those that the world makes wrong."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stepsight.errors import InputError
from stepsight.jsonl import sift_jsonl
from stepsight.pictures import load_picture
from stepsight.prompts.answer import question_text
from stepsight.records import Question, Record, Trace
from stepsight.stages import Stage, render
from stepsight.training.encoding.exchange import Encoded, check_stretch, encode_exchange, mark_tokens, stretch
from stepsight.training.lessons.practice import FAULTS, Windows
from stepsight.training.recipe.data import GradedAnswers
from stepsight.world.drawing import draw_picture
from stepsight.world.grading import grade
from stepsight.world.lessons import Span
from stepsight.world.scene import Scene
from stepsight.world.split import pose
from stepsight.world.spoiling import spoil

logger = logging.getLogger(__name__)


class Written(Record):
    """An answer that a model has written; `faulty` if some stage of it is wrong."""

    question: Question
    answer: str
    faulty: bool


class Graded(Windows):
    """Rows of written and of spoiled answers; every index has its row for ever."""

    def __init__(self, data: GradedAnswers, processor: Any, *, batch: int, length: int) -> None:
        super().__init__(seed=data.seed, batch=batch, length=length)
        self.data, self.processor = data, processor
        if data.stretched:
            check_stretch(processor)
        written = read_written(data.traces) if data.spoiled < 1 else []
        self.faulty = [one for one in written if one.faulty]
        self.sound = [one for one in written if not one.faulty]

    def draw(self, number: int, size: int, rng: random.Random) -> list[Encoded]:
        """Each row by a random number of its own."""
        return [self.row(number * size + place) for place in range(size)]

    def row(self, index: int) -> Encoded:
        """The row that was drawn as number `index`, before windows are sorted."""
        rng = random.Random(f"graded:{self.data.seed}:{index}")
        if rng.random() < self.data.spoiled:
            posed = pose("train", seed=self.data.seed, index=index, crowded=rng.random() < self.data.crowded)
            question = posed.question()
            answer = render(spoil(rng, posed, FAULTS[self.data.faults], muddled=self.data.muddled))
        else:
            group = self.faulty if rng.random() < self.data.faulty else self.sound
            one = rng.choice(group or self.faulty or self.sound)
            question, answer = one.question, one.answer
        # With a number of its own, so that the share changes no other choice.
        if random.Random(f"captions:{self.data.seed}:{index}").random() < self.data.captions:
            answer = _up_to_caption(answer)
        row = encode_exchange(self.processor, question_text(question), _picture(question), (Span(answer),))
        marks = grade(question, answer)
        row = mark_tokens(self.processor.tokenizer, row, answer, marks, end_weight=self.data.end_weight)
        if rng.random() < self.data.stretched:
            row = stretch(row, rng)
        return row


def read_written(traces: Sequence[Path]) -> list[Written]:
    """The answers in traces, each as far as it was written; what is said twice to a question counts once.

    Raises:
        InputError: a file has no answer of the drawn world in it, or one to questions that are there to measure with.
        RecordError: a file cannot be read.
    """
    found: dict[tuple[str, str], Written] = {}
    for path in traces:
        sifted = sift_jsonl(path, Trace)
        if sifted.faults:
            logger.warning("%s: %d rows are set aside, such as %s", path, len(sifted.faults), sifted.faults[0])
        before = len(found)
        for trace in sifted.rows:
            if trace.question.meta.get("split") != "train":
                raise InputError(
                    f"{path} answers questions of the split {trace.question.meta.get('split')}, not of train",
                    hint="make traces with `stepsight draw --split train` and `stepsight eval`",
                )
            for _, answer in trace.leaves():
                marks = grade(trace.question, answer)
                if marks:
                    faulty = not all(mark.right for mark in marks if mark.closes)
                    found.setdefault(
                        (trace.question.id, answer), Written(question=trace.question, answer=answer, faulty=faulty)
                    )
        if len(found) == before:
            raise InputError(f"{path} holds no answer that could be graded", hint="draw its questions from the world")
    return list(found.values())


def _up_to_caption(answer: str) -> str:
    before, close, _ = answer.partition(Stage.CAPTION.close)
    return before + close


def _picture(question: Question) -> Any:
    if question.images:
        return load_picture(question.images[0])
    return draw_picture(Scene.from_dict(question.meta["scene"]))
