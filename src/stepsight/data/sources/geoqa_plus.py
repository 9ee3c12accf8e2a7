"""GeoQA+: multiple choice about drawings of plane geometry, in Chinese. SCNU203/GeoQA-Plus.

Files: pickled lists of rows with the picture as an array. They are read by `pickles.py` and, as pickles are, whole; the
pictures are written once to `geoqa_plus/images`, since a question names its picture as a file. The English text that
InternVL trains on (`geoqa+.jsonl`) is of LLaVA's form, for the source `llava_jsonl`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from stepsight.data.sources.pickles import load_plain
from stepsight.data.sources.reading import (
    Raw,
    Row,
    UnusableError,
    as_row,
    count_rows,
    locate,
    numbered,
    one_round,
    read_rows,
)
from stepsight.data.sources.source import Found, Reason, SetAside, Sourced
from stepsight.data.sources.wording import check_choice, letter, option_lines
from stepsight.errors import InputError, RecordError
from stepsight.files import whole_file
from stepsight.records import Question

_FILES = {"train": "GeoQA-train.pk", "mix": "Mix-train.pk", "backtrans": "Backtrans-train.pk"} | {
    "val": "dev.pk",
    "test": "test.pk",
    "new-test": "new-test.pk",
}


class _Row(Row):
    id: int | str
    image: Any
    subject: str = Field(min_length=1)
    choices: list[Any] | tuple[Any, ...]
    label: int
    answer: str = ""


@dataclass(frozen=True)
class GeoQAPlus:
    """One file: `train`, `mix` (with the new questions of GeoQA+), `backtrans`, `val`, `test` or `new-test`."""

    split: str = "mix"
    name: str = "geoqa_plus"
    licence: str = "none stated"
    homepage: str = "https://github.com/SCNU203/GeoQA-Plus"
    paper_count: int | None = 11_400

    @property
    def layout(self) -> str:
        """Which files are expected."""
        return f"geoqa_plus/{_FILES[self.split]}; pictures are written to geoqa_plus/images"

    def find(self, root: Path) -> Found:
        """Count the rows of the file."""
        path = self._file(root)
        if not path.is_file():
            return Found(missing=(str(path.relative_to(root)),))
        return Found((count_rows(path, _rows(path)),))

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each row; ids are `geoqa_plus-{split}-{id}`."""
        path = self._file(root)
        images = path.parent / "images"
        yield from read_rows(self.name, path, numbered(_rows(path)), lambda raw: self._row(raw, images))

    def _file(self, root: Path) -> Path:
        return locate(root / self.name, _FILES[self.split])

    def _row(self, raw: Raw, images: Path) -> Sourced:
        row = as_row(_Row, raw.value)
        choices = [str(choice) for choice in row.choices]
        answer = check_choice(choices, row.label)
        image = images / self.split / f"{''.join(c if c.isalnum() else '-' for c in str(row.id))}.png"
        _save(row.image, image)
        text = "\n".join((row.subject, "Choices:", *option_lines(choices)))
        return Sourced(
            question=Question(
                id=f"{self.name}-{self.split}-{row.id}",
                text=row.subject,
                images=(image,),
                choices=tuple(choices),
                answer=answer,
                source=self.name,
                meta={"split": self.split, "language": "zh"},
            ),
            turns=one_round(text, letter(row.label)),
            hint=row.answer,
        )


def _rows(path: Path) -> Iterator[Any]:
    rows = load_plain(path)
    if not isinstance(rows, list):
        raise RecordError(f"{path} holds a {type(rows).__name__}, not a list of rows")
    for row in rows:
        # numpy's numbers as Python's, for the strict row.
        yield {key: _plain(value) for key, value in row.items()} if isinstance(row, dict) else row


def _plain(value: Any) -> Any:
    import numpy

    return value.item() if isinstance(value, numpy.generic) else value


def _save(array: Any, path: Path) -> None:
    """Write a picture (height x width, or that x 3, bytes) as PNG, unless it is there."""
    import numpy
    from PIL import Image

    if not isinstance(array, numpy.ndarray):
        raise UnusableError(f"the picture is a {type(array).__name__}, not an array")
    if not array.size:
        raise UnusableError("the picture is empty", Reason.IMAGE_EMPTY)
    if array.dtype != numpy.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise UnusableError(
            f"the picture is {array.dtype} {array.shape}, no bytes of grey or RGB", Reason.IMAGE_DAMAGED
        )
    if path.exists():
        return
    try:
        with whole_file(path) as stream:
            Image.fromarray(array).save(stream, format="PNG")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}", hint="free space there") from error
