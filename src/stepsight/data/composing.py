"""Draws a recipe's rows from its sources: so many of each, the same for the same seed.

    survey   reads everything once: which rows are drawn, what is set aside, what is short; nothing else is done yet
    drawn    reads again and gives the drawn rows, source by source, in the order of their files
    posed    makes of each row the questions that `data.lessons` reads, one for each turn

Every row has a number derived from (seed, source, question id), and the rows with the smallest are drawn. So a source
that has lost a few rows gives the others again, and a larger count adds rows to those of a smaller. Between the two
readings memory holds one number for each drawn row and no row.
"""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepsight.data.recipe import DataRecipe
from stepsight.data.sources.catalogue import source_named
from stepsight.data.sources.source import Reason, SetAside, Source, Sourced
from stepsight.errors import InputError
from stepsight.prompts.answer import question_text
from stepsight.records import Question
from stepsight.seeds import derive_seed


@dataclass(frozen=True)
class Share:
    """What a survey found of one source. `places` are the drawn rows, counted from 0 among the sound ones."""

    source: Source
    wanted: int
    sound: int
    places: frozenset[int]
    set_aside: Counter[Reason] = field(default_factory=Counter)

    @property
    def short(self) -> int:
        """How many rows there are too few."""
        return max(0, self.wanted - self.sound)

    def __str__(self) -> str:
        aside = ", ".join(f"{count} {reason}" for reason, count in sorted(self.set_aside.items()))
        return f"{self.source.name}: {self.sound} sound rows for {self.wanted}" + (
            f"; set aside: {aside}" * bool(aside)
        )


@dataclass(frozen=True)
class Survey:
    """What a recipe's sources hold."""

    root: Path
    shares: tuple[Share, ...]

    @property
    def rows(self) -> int:
        """How many rows are drawn."""
        return sum(len(share.places) for share in self.shares)

    @property
    def short(self) -> tuple[Share, ...]:
        """The sources that have too few rows."""
        return tuple(share for share in self.shares if share.short)


def survey(recipe: DataRecipe, *, on_fault: Callable[[SetAside], None] = lambda fault: None) -> Survey:
    """Read every source once and decide which rows are drawn; `on_fault` is told of each row that is set aside."""
    shares = []
    for name, wanted in recipe.sources.items():
        source = source_named(name, count=wanted, seed=recipe.seed)
        # A heap of the negated numbers: its first is the largest of the smallest so far.
        smallest: list[tuple[int, int]] = []
        aside: Counter[Reason] = Counter()
        sound = 0
        for row in _read(source, recipe.root):
            if isinstance(row, SetAside):
                aside[row.reason] += 1
                on_fault(row)
                continue
            item = (-derive_seed(recipe.seed, row.question.id, name, 0), sound)
            if len(smallest) < wanted:
                heapq.heappush(smallest, item)
            else:
                heapq.heappushpop(smallest, item)
            sound += 1
        shares.append(Share(source, wanted, sound, frozenset(place for _, place in smallest), aside))
    return Survey(recipe.root, tuple(shares))


def check_complete(found: Survey) -> None:
    """Make sure, before any work, that no source is short.

    Raises:
        InputError: one is; all are named, with what was set aside.
    """
    if found.short:
        raise InputError(
            "too few rows:\n" + "\n".join(f"  {share}" for share in found.short),
            hint="`stepsight data sources` says which files are expected where; or ask for fewer rows",
        )


def drawn(found: Survey) -> Iterator[Sourced]:
    """The drawn rows. Files that change between survey and this reading are not covered."""
    for share in found.shares:
        sound = 0
        for row in _read(share.source, found.root):
            if isinstance(row, Sourced):
                if sound in share.places:
                    yield row
                sound += 1


def posed(row: Sourced, root: Path, beside: Path) -> Iterator[Question]:
    """A row as questions, one for each turn, in the words and with the answers that the dataset has.

    Pictures are named as seen from the folder `beside`, where the questions will stand, and in `meta.image` as seen
    from `root`. What the source knows of the row is in the `meta` of each of its questions.
    """
    first = row.question
    known: dict[str, Any] = dict(first.meta)
    names = [image.relative_to(root) for image in first.images]
    if names:
        known["image"] = names[0].as_posix()
    if row.hint.strip():
        known["hints"] = [row.hint]
    # Resolved, as `..` behind a link leads elsewhere.
    images = tuple(Path(os.path.relpath(root.resolve() / name, beside.resolve())) for name in names)
    for turn, said in enumerate(row.turns):
        meta = dict(known)
        if len(row.turns) > 1:
            earlier = [[before.question, before.answer] for before in row.turns[:turn]]
            meta |= {"row": first.id, "turn": turn, "earlier": earlier}
        question = Question(
            id=f"{first.id}#{turn}" if turn else first.id,
            text=said.question,
            images=images,
            answer=said.answer,
            source=first.source,
            meta=meta,
        )
        if turn == 0 and first.choices:
            # The choices are kept apart from the words, for whoever has to tell which one an answer names.
            question = question.model_copy(update={"text": first.text, "choices": first.choices})
            if question_text(question) != said.question:
                question = question.model_copy(update={"meta": {**meta, "wording": said.question}})
        yield question


def _read(source: Source, root: Path) -> Iterator[Sourced | SetAside]:
    """What a source gives, without the rows that the output has no form for."""
    for row in source.read(root):
        if isinstance(row, Sourced) and len(row.question.images) > 1:
            detail = f"it has {len(row.question.images)} pictures, and a row of the output names one"
            yield SetAside(source.name, root / source.name, row.question.id, Reason.SEVERAL_IMAGES, detail)
        else:
            yield row
