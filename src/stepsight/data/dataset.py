"""The folder that a build leaves: everything in it but the recipe is made of the ledger, and each file is whole.

    OUT/train.jsonl      the rows that were kept, in the form of LLaVA-CoT-100k
    OUT/rejects.jsonl    all others, each with its reason
    OUT/train.parquet    the same rows as chat (`ChatRow`), as `data export --to parquet --relative` writes them
    OUT/manifest.json    what they are made of
    OUT/coco/...         the pictures of the kept rows, under the very names that the rows have for them

As in the public dataset, `image` starts from the folder of `train.jsonl`, so what reads one reads the other.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from stepsight.data.build_recipe import BuildRecipe
from stepsight.data.building import REJECTS, write_rows
from stepsight.data.exporting import ChatRow, chat_of
from stepsight.data.ledger import Ledger
from stepsight.data.lessons import Lesson
from stepsight.data.manifest import Cost, Manifest, state_of, states_of, versions, write_manifest
from stepsight.data.staged_rows import TRAIN, StagedRow
from stepsight.errors import InputError, MissingExtraError, RecordError
from stepsight.files import whole_file
from stepsight.jsonl import scan_jsonl
from stepsight.parquet import write_parquet
from stepsight.prompts.teacher import teacher_prompts
from stepsight.recipes import save_resolved

PARQUET = "train.parquet"
RECIPE = "recipe.yaml"


class Pictures(StrEnum):
    """What becomes of the pictures of kept rows."""

    LINK = "link"
    """A hard link where the file system allows one, else a copy: no room is taken twice."""
    COPY = "copy"
    LEAVE = "leave"
    """They stay where they are; whoever reads the rows is told by `--images`."""


@dataclass(frozen=True)
class Placed:
    """How many pictures were placed, those included that were there, and what is wrong with the others, if anything."""

    count: int = 0
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """What was written. `parquet` is false where pyarrow is not installed."""

    manifest: Manifest
    placed: Placed
    parquet: bool


def write_dataset(
    out: Path, ledger: Ledger, recipe: BuildRecipe, teacher: str, lessons: Iterable[Lesson], pictures: Pictures
) -> Dataset:
    """Make all files of the ledger.

    Args:
        out: folder, made if absent.
        ledger: of the build.
        recipe: how it was built.
        teacher: the engine's name.
        lessons: those of the build; they say where the pictures are.
        pictures: what becomes of them.

    Raises:
        InputError: a picture or file cannot be written.
    """
    save_resolved(recipe, out / RECIPE)
    # Pictures first: no row of a finished file names one that was still to come.
    placed = Placed()
    if pictures is not Pictures.LEAVE:
        placed = place_pictures(out, ledger, lessons, link=pictures is Pictures.LINK)
    rows, _ = write_rows(ledger, out)
    parquet = _write_parquet(out)
    totals = ledger.totals()
    manifest = Manifest(
        made_by="build",
        teacher=teacher,
        recipe=state_of(out / RECIPE).sha256,
        prompts=teacher_prompts(recipe.teaching.prompts).hashes,
        rows=rows,
        turns=ledger.states().get("kept", 0),
        sources=ledger.rows_by_source(),
        set_aside=ledger.reasons(),
        outcomes=ledger.outcomes(),
        files=states_of(out, (TRAIN, REJECTS, *((PARQUET,) if parquet else ()))),
        versions=versions(),
        cost=Cost(
            requests=int(totals["replies"]),
            prompt_tokens=int(totals["computed"] + totals["cached"]),
            completion_tokens=int(totals["generated"]),
            dollars=None if recipe.prices.free else ledger.spent() / 1e12,
        ),
    )
    write_manifest(out, manifest)
    return Dataset(manifest, placed, parquet)


def place_pictures(out: Path, ledger: Ledger, lessons: Iterable[Lesson], *, link: bool) -> Placed:
    """Put the pictures of kept rows below `out`; what is there already stays.

    A picture that is gone, or whose name is taken by another one, is a fault in words.

    Raises:
        InputError: a picture cannot be written.
    """
    count, faults = 0, []
    for lesson in lessons:
        if not lesson.image or ledger.state(lesson.question.id) != "kept":
            continue
        fresh, fault = place_picture(lesson.question.images[0], out / lesson.image, link=link)
        count += fresh
        faults += [f"question {lesson.question.id}: {fault}"] if fault else []
    return Placed(count, tuple(faults))


def place_picture(picture: Path, target: Path, *, link: bool = True) -> tuple[bool, str]:
    """Put a picture at `target`: whether it was not there before, and what is wrong with it, if anything.

    Args:
        picture: a file.
        target: where it is to be; another picture that is there already stays and is a fault.
        link: by a hard link, where the file system allows one; else a copy.

    Raises:
        InputError: the target cannot be written.
    """
    try:
        size = picture.stat().st_size
        if target.exists():
            same = target.samefile(picture) or target.stat().st_size == size
            return False, "" if same else f"{target} is another picture than {picture}"
    except OSError as error:
        return False, f"{picture} cannot be read: {error.strerror}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if link and _linked(picture, target):
            return True, ""
        with picture.open("rb") as source, whole_file(target) as stream:
            shutil.copyfileobj(source, stream)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}", hint="free space there") from error
    return True, ""


def _linked(picture: Path, target: Path) -> bool:
    try:
        # Resolved: a link to a symbolic link would be one.
        os.link(picture.resolve(), target)
    except OSError:  # another file system, or one without hard links
        return False
    return True


def _write_parquet(out: Path) -> bool:
    def chats() -> Iterator[ChatRow]:
        for row in scan_jsonl(out / TRAIN, StagedRow):
            if isinstance(row, RecordError):
                raise row
            yield chat_of(row, images=None)

    try:
        write_parquet(out / PARQUET, chats(), ChatRow)
    except MissingExtraError:
        # One of an earlier start would no longer be that of these rows.
        (out / PARQUET).unlink(missing_ok=True)
        return False
    return True
