"""Questions of the world as benchmark files of VLMEvalKit's form, so that its world can be measured as benchmarks are.

    mcq   questions with options      index, question, A, B, C, D, answer (a letter), category, image
    yn    questions for yes or no     index, question, answer (Yes, No), category, image
    vqa   all others                  index, question, answer, category, image

Every question of a split belongs to one of the three. The index is its number in the split, the category its family,
and the picture stands in the file, as base64.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from string import ascii_uppercase
from typing import Literal, get_args

from stepsight.errors import InputError
from stepsight.files import whole_file
from stepsight.world.drawing import draw_picture
from stepsight.world.split import Posed, png_of, pose

Kind = Literal["mcq", "yn", "vqa"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_OPTIONS = "ABCD"


def kind_of(posed: Posed) -> Kind:
    """Which file a question belongs to."""
    if posed.asked.choices:
        return "mcq"
    return "yn" if posed.asked.answer in ("yes", "no") else "vqa"


def save_benchmark(
    kind: Kind,
    split: str,
    *,
    seed: int,
    count: int,
    out: Path,
    crowded: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Write the first `count` questions of a kind, of a split under a seed, to `out`/tabletop_<split>_<kind>.tsv.

    Args:
        kind: `mcq`, `yn` or `vqa`.
        split: `train`, `test` or `hard`.
        seed: run seed.
        count: how many questions.
        out: folder, made if absent.
        crowded: only scenes with as many objects as the split has at most, or one less.
        progress: called with the number of questions done.

    Raises:
        InputError: there is no such kind or split.
    """
    if kind not in KINDS:
        raise InputError(f"there is no kind {kind!r} of questions", hint=f"choose one of {', '.join(KINDS)}")
    path = out / f"tabletop_{split}_{kind}.tsv"
    options = list(_OPTIONS) if kind == "mcq" else []
    with whole_file(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        columns = ["index", "question", *options, "answer", "category", "image"]
        writer = csv.DictWriter(text, columns, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for done, (index, posed) in enumerate(_of_kind(kind, split, seed, count, crowded), start=1):
            writer.writerow(_row(index, posed, kind))
            progress(done)
        text.flush()
        text.detach()
    return path


def _of_kind(kind: Kind, split: str, seed: int, count: int, crowded: bool) -> Iterator[tuple[int, Posed]]:
    index = found = 0
    while found < count:
        posed = pose(split, seed=seed, index=index, crowded=crowded)
        if kind_of(posed) == kind:
            yield index, posed
            found += 1
        index += 1


def _row(index: int, posed: Posed, kind: Kind) -> dict[str, str | int]:
    asked = posed.asked
    return {
        "index": index,
        "question": asked.text,
        **dict(zip(ascii_uppercase, asked.choices, strict=False)),
        "answer": asked.answer.capitalize() if kind == "yn" else asked.answer,
        "category": asked.program.family,
        "image": base64.b64encode(png_of(draw_picture(posed.scene))).decode("ascii"),
    }
