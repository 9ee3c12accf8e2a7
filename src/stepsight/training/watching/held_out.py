"""What a run is watched with: questions and their answers that it does not learn from."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepsight.data.staged_rows import SetAside
from stepsight.errors import InputError
from stepsight.files import whole_file
from stepsight.pictures import load_picture
from stepsight.prompts.answer import question_text
from stepsight.records import Question
from stepsight.stages import parse
from stepsight.training.encoding.exchange import Encoded, encode_conversation
from stepsight.training.recipe.steps import Watching
from stepsight.training.rows.files import RowFile, open_rows
from stepsight.training.watching.watched import said_by
from stepsight.world.lessons import Span
from stepsight.world.split import load_questions, save_split

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldOut:
    """A question with its known answer, as the first of the `exchanges` about a picture, or about none."""

    question: Question
    exchanges: tuple[tuple[str, str], ...]
    system: str | None = None

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
        return encode_conversation(
            processor, [(user, (Span(reply),)) for user, reply in self.exchanges], picture, system=self.system
        )


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
    return _from_file(watching.rows, watching.images, watching.seed, count, folder)


def sound_rows(rows: Path, images: Path) -> tuple[RowFile, list[int], list[str]]:
    """A file of rows, the numbers of its sound rows, and why others are set aside.

    Raises:
        InputError: no row is sound.
        RecordError: the file cannot be read.
    """
    file = open_rows(rows, images)
    numbers, faults = [], []
    for one in file.scan():
        if isinstance(one, SetAside):
            faults.append(one.reason)
        else:
            numbers.append(one.line)
    if not numbers:
        raise InputError(f"{rows} has no sound row to watch with", hint=faults[0] if faults else "give it some rows")
    return file, numbers, faults


def _from_file(rows: Path, images: Path, seed: int, count: int, folder: Path) -> list[HeldOut]:
    file, numbers, faults = sound_rows(rows, images)
    if faults:
        logger.warning("%d held-out rows are set aside; the first: %s", len(faults), faults[0])
    held = []
    for number in random.Random(f"watch:{seed}").sample(numbers, min(count, len(numbers))):
        row, picture = file.read(number)
        shown: tuple[Path, ...] = ()
        if row.image is not None and picture is not None:
            # A question names its pictures; those inside a table have no file yet.
            path = images / row.image
            if not path.is_file():
                path = folder / f"{number}.png"
                with whole_file(path) as stream:
                    picture.save(stream, format="PNG")
            shown = (path,)
        user, reply = row.exchanges[0]
        question = Question(id=row.id, text=user, images=shown, answer=said_by(reply, parse(reply)), source=row.source)
        held.append(HeldOut(question, tuple(row.exchanges), row.system))
    return held
