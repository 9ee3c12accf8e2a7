"""Selected answers as a dataset: rows in the public format, their pictures, and a manifest.

OUT/train.jsonl     a row for each answer: its question, and the answer as the model wrote it
OUT/images/...      the pictures, by hard links where the file system allows them
OUT/recipe.yaml     what was kept, and by whose word
OUT/manifest.json   counts by family, and of what was left out by reason
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from stepsight.data.dataset import RECIPE, place_picture
from stepsight.data.manifest import Manifest, state_of, states_of, versions, write_manifest
from stepsight.data.staged_rows import TRAIN, Said, StagedRow
from stepsight.errors import InputError
from stepsight.jsonl import write_jsonl
from stepsight.prompts.answer import question_text
from stepsight.recipes import save_resolved
from stepsight.records import Question
from stepsight.rejection.selecting import Confirmed, Selected, Selection


def write_selected(selected: Selected, selection: Selection, out: Path, *, model: str = "") -> Manifest:
    """Write what is kept; the manifest is written last.

    Args:
        selected: of `select`.
        selection: what it was selected by.
        out: folder, made if absent.
        model: the engine that wrote the answers, for the manifest.

    Raises:
        InputError: nothing is kept, a question has several pictures, or a picture cannot be read or written.
    """
    if not selected.kept:
        reasons = ", ".join(f"{count} {why}" for why, count in selected.reasons.items())
        raise InputError(
            f"none of {selected.answers} answers is kept ({reasons or 'there is none'})",
            hint="let fewer stages be confirmed, or draw more answers to a question at a higher temperature",
        )
    save_resolved(selection, out / RECIPE)
    names = _Names()
    write_jsonl(out / TRAIN, _rows(selected.kept, out, names))
    kept = Counter(one.family for one in selected.kept)
    families = sorted({*kept, *selected.left_out})
    manifest = Manifest(
        made_by="select",
        teacher=model,
        recipe=state_of(out / RECIPE).sha256,
        rows=len(selected.kept),
        turns=len(selected.kept),
        sources=dict(Counter(one.question.source or "unknown" for one in selected.kept).most_common()),
        set_aside=selected.reasons,
        outcomes={one: {"kept": kept[one], **selected.left_out.get(one, {})} for one in families},
        files=states_of(out, (TRAIN,)),
        versions=versions(),
    )
    write_manifest(out, manifest)
    return manifest


def _rows(kept: list[Confirmed], out: Path, names: _Names) -> Iterator[StagedRow]:
    numbers: Counter[str] = Counter()
    for one in kept:
        question = one.question
        image = names.of(question)
        if image is not None:
            _, fault = place_picture(question.images[0], out / image)
            if fault:
                raise InputError(f"question {question.id}: {fault}", hint="write into another folder")
        turns = (Said(speaker="human", value=question_text(question)), Said(speaker="gpt", value=one.answer))
        yield StagedRow(id=f"{question.id}-{numbers[question.id]}", image=image, conversations=turns)
        numbers[question.id] += 1


class _Names:
    """Names of pictures in the output: their own, unless another picture has that."""

    def __init__(self) -> None:
        self._taken: dict[str, Path] = {}

    def of(self, question: Question) -> str | None:
        if not question.images:
            return None
        if len(question.images) > 1:
            raise InputError(
                f"question {question.id} has {len(question.images)} pictures, and a row names one",
                hint="leave its traces out",
            )
        picture = question.images[0]
        name = f"images/{picture.name}"
        if self._taken.setdefault(name, picture) != picture:
            name = f"images/{hashlib.sha256(str(picture).encode()).hexdigest()[:8]}-{picture.name}"
        return name
