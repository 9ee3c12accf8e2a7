"""Staged rows in the forms that the paper holds against its own: the same questions and pictures, answered otherwise.

    staged     as they are: four stages with their tags, in their order
    direct     the CONCLUSION alone, without its tags
    no-tags    the texts of the four stages, a blank line between them, without tags
    apart      each stage a row of its own, the stages before it given with the question (see `prompts.tasks`)
    shuffled   four stages with their tags, in an order drawn anew for each reply

Source: LLaVA-CoT, arXiv 2411.10440v6, Tables 2 and 7. The paper says neither in which order it shuffled, nor what a
stage that is trained apart is given; a random order, and all stages before, are our reading. Of a row with several
exchanges the stages trained apart stand alone, each with its own question: the teacher did not see earlier turns
either.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from stepsight.data.exporting import ChatRow, chat_of
from stepsight.data.row_pictures import fault_of
from stepsight.data.staged_rows import RowFault, Said, SetAside, StagedRow, format_fault, scan_rows
from stepsight.errors import InputError, RecordError
from stepsight.jsonl import write_jsonl
from stepsight.parquet import scan_parquet, write_parquet
from stepsight.prompts.tasks import stage_task
from stepsight.stages import SEPARATOR, STAGES, Stage, parse, render_stage

PARQUET = ".parquet"


class Form(StrEnum):
    """How a reply is written; see the head of this file."""

    STAGED = "staged"
    DIRECT = "direct"
    NO_TAGS = "no-tags"
    APART = "apart"
    SHUFFLED = "shuffled"


@dataclass(frozen=True)
class Written:
    """How many rows were read and written, and how many were set aside, by reason."""

    read: int
    rows: int
    set_aside: Mapping[str, int]


def in_form(row: StagedRow, form: Form, *, seed: int = 0) -> tuple[StagedRow, ...]:
    """A row whose replies are whole staged answers, in another form: one row, or four for each exchange of `apart`.

    Args:
        row: as `scan_rows(..., staged=True)` gives it.
        form: what to make of it.
        seed: decides orders; that of a reply depends on it, the row's id and the reply's number alone.
    """
    if form is Form.STAGED:
        return (row,)
    if form is Form.APART:
        return tuple(_apart(row))
    turns = _head(row)
    for number, (user, reply) in enumerate(row.exchanges):
        stages = parse(reply).stages
        if form is Form.DIRECT:
            text = stages[Stage.CONCLUSION]
        elif form is Form.NO_TAGS:
            text = SEPARATOR.join(stages[stage] for stage in STAGES)
        else:
            text = SEPARATOR.join(render_stage(stage, stages[stage]) for stage in _order(row.id, number, seed))
        turns += _exchange(user, text)
    return (StagedRow(id=row.id, image=row.image, conversations=tuple(turns)),)


def _order(id: str, number: int, seed: int) -> list[Stage]:
    return random.Random(f"shuffled:{seed}:{id}:{number}").sample(STAGES, len(STAGES))


def _apart(row: StagedRow) -> Iterator[StagedRow]:
    for number, (user, reply) in enumerate(row.exchanges):
        stages = parse(reply).stages
        for place, stage in enumerate(STAGES):
            asked = stage_task(user, {one: stages[one] for one in STAGES[:place]}, stage)
            said = render_stage(stage, stages[stage])
            turns = (*_head(row), *_exchange(asked, said))
            yield StagedRow(id=f"{row.id}-{number}-{stage.key}", image=row.image, conversations=turns)


def _head(row: StagedRow) -> list[Said]:
    """What stands before the exchanges: a system turn, where there is one."""
    return [said for said in row.conversations if said.speaker not in ("human", "gpt")]


def _exchange(user: str, reply: str) -> tuple[Said, Said]:
    return Said(speaker="human", value=user), Said(speaker="gpt", value=reply)


def write_form(
    rows: Path,
    images: Path,
    out: Path,
    form: Form,
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Written:
    """Write a dataset's rows in another form; those that are unsound or no staged answers are left out and counted.

    Rows are read and written one by one; pictures stay where they are.

    Args:
        rows: in the public format, or `train.parquet` of a build.
        images: the folder that `image` paths start from.
        out: a file; with the ending `.parquet` it is written as `data.exporting` does, paths relative to `images`.
        form: what to make of them.
        seed: see `in_form`.
        progress: called with the number of rows read.

    Raises:
        RecordError: `rows` cannot be read.
        InputError: no row is left, or `out` is `rows`.
        MissingExtraError: parquet is asked for and pyarrow is not installed.
    """
    if out.exists() and out.samefile(rows):
        raise InputError(f"{out} is what is read", hint="choose another file")
    reasons: dict[str, int] = {}
    read = 0

    def made() -> Iterator[StagedRow]:
        nonlocal read
        for read, one in enumerate(_scan(rows, images), start=1):
            if isinstance(one, SetAside):
                reasons[one.kind] = reasons.get(one.kind, 0) + 1
            else:
                yield from in_form(one, form, seed=seed)
            progress(read)
        if read == sum(reasons.values()):
            counts = ", ".join(f"{count} {kind}" for kind, count in reasons.items())
            raise InputError(f"{rows} has no staged row ({counts or 'it is empty'})", hint="check --images")

    if out.suffix == PARQUET:
        count = write_parquet(out, (chat_of(row, images=None) for row in made()), ChatRow)
    else:
        count = write_jsonl(out, made())
    return Written(read, count, reasons)


def _scan(rows: Path, images: Path) -> Iterator[StagedRow | SetAside]:
    if rows.suffix != PARQUET:
        for one in scan_rows(rows, images, staged=True):
            yield one if isinstance(one, SetAside) else one.row
        return
    for number, chat in enumerate(scan_parquet(rows, ChatRow), start=1):
        yield _sound(rows, number, chat, images)


def _sound(path: Path, number: int, chat: ChatRow | RecordError, images: Path) -> StagedRow | SetAside:
    """The row that `data.exporting.chat_of` made a chat of, its picture's path as it stands there."""
    where = f"{path}, row {number}"
    if isinstance(chat, RecordError):
        return SetAside(file=path.name, line=number, kind=RowFault.MALFORMED, reason=str(chat))
    speakers = {"user": "human", "assistant": "gpt"}
    turns = [{"from": speakers.get(said.role, said.role), "value": said.content} for said in chat.messages]
    try:
        row = StagedRow.model_validate({"id": chat.id, "image": next(iter(chat.images), None), "conversations": turns})
    except ValidationError as error:
        reason = f"{where}: {error.errors(include_url=False)[0]['msg']}"
        return SetAside(file=path.name, line=number, id=chat.id, kind=RowFault.MALFORMED, reason=reason)
    fault = format_fault(row)
    if fault is not None:
        reason = f"{where}, {row.id}: {fault}"
        return SetAside(file=path.name, line=number, id=row.id, kind=RowFault.FORMAT, reason=reason)
    bad = None if row.image is None else fault_of(images, row.image)
    if bad is not None:
        return SetAside(
            file=path.name, line=number, id=row.id, kind=bad.kind, reason=f"{where}, {row.id}: {bad.detail}"
        )
    return row
