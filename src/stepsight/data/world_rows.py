"""Staged rows of the world: its teacher's answers to questions of the training split, with their pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from stepsight.data.staged_rows import TRAIN, Said, StagedRow
from stepsight.errors import RecordError
from stepsight.jsonl import scan_jsonl, write_jsonl
from stepsight.prompts.answer import question_text
from stepsight.records import Question
from stepsight.world.split import save_split


def draw_rows(
    out: Path,
    *,
    seed: int,
    count: int,
    crowded: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Write `train.jsonl` and pictures under `out`; pictures that are there already are kept.

    Args:
        out: folder, made if absent.
        seed: of the questions.
        count: how many.
        crowded: only scenes with as many objects as the split has at most, or one less.
        progress: called with the number of questions drawn.

    Returns:
        The path of `train.jsonl`, in the public dataset's format.
    """
    questions = save_split("train", seed=seed, count=count, out=out, crowded=crowded, progress=progress)
    path = out / TRAIN
    write_jsonl(path, _rows(questions))
    return path


def _rows(questions: Path) -> Iterator[StagedRow]:
    for question in scan_jsonl(questions, Question):
        if isinstance(question, RecordError):
            raise question
        turns = (
            Said(speaker="human", value=question_text(question)),
            Said(speaker="gpt", value=question.meta["staged_answer"]),
        )
        yield StagedRow(id=question.id, image=question.images[0].as_posix(), conversations=turns)
