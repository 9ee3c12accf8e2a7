"""What a run is watched with: questions and their answers that it does not learn from."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepsight.data.staged_rows import read_rows
from stepsight.pictures import load_picture
from stepsight.prompts.answer import question_text
from stepsight.records import Question
from stepsight.stages import parse
from stepsight.training.encoding import Encoded, encode_conversation
from stepsight.training.recipe_steps import Watching
from stepsight.training.watched import said_by
from stepsight.world.lessons import Span
from stepsight.world.split import load_questions, save_split

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldOut:
    """A question with its known answer, as the first of the `exchanges` about a picture, or about none."""

    question: Question
    exchanges: tuple[tuple[str, str], ...]

    @property
    def length(self) -> int:
        """Characters, to put rows of like length together without encoding them."""
        return sum(len(text) for exchange in self.exchanges for text in exchange)

    def encode(self, processor: Any) -> Encoded:
        """As a row to learn from.

        Raises:
            PictureError: the picture cannot be read.
            ValueError, ModelError: as `encode_conversation`.
        """
        picture = load_picture(self.question.images[0]) if self.question.images else None
        return encode_conversation(processor, [(user, (Span(reply),)) for user, reply in self.exchanges], picture)


def hold_out(watching: Watching, folder: Path) -> list[HeldOut]:
    """As many questions as are asked or measured; those of a file in an order of their own, that the seed decides.

    Args:
        watching: of the recipe.
        folder: where drawn questions and their pictures are kept.

    Raises:
        InputError: no row of the file can be used.
        RecordError: the file cannot be read.
    """
    count = max(watching.samples, watching.losses)
    if watching.rows is None or watching.images is None:
        questions = load_questions(save_split(watching.split, seed=watching.seed, count=count, out=folder))
        return [HeldOut(one, ((question_text(one), str(one.meta["staged_answer"])),)) for one in questions]
    read = read_rows(watching.rows, watching.images)
    if read.faults:
        logger.warning("%d held-out rows are set aside; the first: %s", len(read.faults), read.faults[0])
    rows = random.Random(f"watch:{watching.seed}").sample(read.rows, min(count, len(read.rows)))
    held = []
    for row in rows:
        user, reply = row.exchanges[0]
        question = Question(
            id=row.id,
            text=user,
            images=() if row.image is None else (watching.images / row.image,),
            answer=said_by(reply, parse(reply)),
            source=row.source,
        )
        held.append(HeldOut(question, tuple(row.exchanges)))
    return held
