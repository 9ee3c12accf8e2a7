"""PISC: how two people in a photograph stand to each other. Zenodo 1059155.

    annotation_image_info.json  [{"id", "bbox": [[x1, y1, x2, y2], ...]}]     people, in pixels
    relationship.json           {"13357": {"1 2": 4}}                         a pair of people, counted from 1 -> 1 to 6
    relation_{split}idx.json    ["13357", ...]                                the pictures of train, val or test

How LLaVA-CoT worded its questions is not known: the wording is our own, with people told by their boxes. The boxes of
all pictures are held in memory (23 thousand pictures).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepsight.data.sources.json_stream import scan_list, scan_mapping
from stepsight.data.sources.reading import (
    Raw,
    Row,
    UnusableError,
    as_row,
    count_rows,
    locate,
    one_round,
    read_rows,
)
from stepsight.data.sources.source import Found, FoundFile, Reason, SetAside, Sourced
from stepsight.data.sources.wording import letter, lettered
from stepsight.errors import RecordError
from stepsight.records import Question

RELATIONS = ("friends", "family", "a couple", "professional", "commercial", "no relation")
"""By number, from 1."""


class _Info(Row):
    id: int | str
    bbox: list[list[float | int]]


@dataclass(frozen=True)
class PISC:
    """The pairs of one split. Without a split file all pairs are read, which `find` says."""

    split: str = "train"
    name: str = "pisc"
    licence: str = "unknown"
    homepage: str = "https://zenodo.org/records/1059155"
    paper_count: int | None = 1_000

    @property
    def layout(self) -> str:
        """Which files are expected."""
        return (
            "pisc/relationship.json, pisc/annotation_image_info.json, pisc/image/13357.jpg, "
            f"pisc/relationship_split/relation_{self.split}idx.json"
        )

    def find(self, root: Path) -> Found:
        """Count the pairs of the split."""
        files: list[FoundFile] = []
        needed = (self._pairs(root), self._info(root), self._pairs(root).parent / "image")
        missing = [str(path.relative_to(root)) for path in needed if not path.exists()]
        if self._split_file(root) is None:
            missing.append(f"{self.name}/relationship_split/relation_{self.split}idx.json (all pictures are read)")
        if self._pairs(root).is_file():
            files.append(count_rows(self._pairs(root), self._raw(root)))
        if self._info(root).is_file():
            told = count_rows(self._info(root), scan_list(self._info(root)))
            if told.fault:
                files.append(FoundFile(told.path, 0, told.fault))
        return Found(tuple(files), tuple(missing))

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each pair; ids are `pisc-{picture}-{one}-{two}`, and a row is named by picture and pair."""
        infos: dict[str, Any] = {}
        try:
            for value in scan_list(self._info(root)):
                if isinstance(value, dict) and "id" in value:
                    infos[str(value["id"])] = value
        except RecordError as error:
            yield SetAside(self.name, self._info(root), None, Reason.FILE, str(error))
        path = self._pairs(root)
        yield from read_rows(self.name, path, self._raw(root), lambda raw: self._row(raw, infos, path.parent / "image"))

    def _pairs(self, root: Path) -> Path:
        return locate(root / self.name, "relationship.json")

    def _info(self, root: Path) -> Path:
        return locate(root / self.name, "annotation_image_info.json")

    def _split_file(self, root: Path) -> Path | None:
        path = locate(root / self.name, f"relation_{self.split}idx.json")  # as unpacked: relationship_split/
        return path if path.is_file() else None

    def _raw(self, root: Path) -> Iterator[Raw]:
        """Each pair of the split's pictures, as (picture, pair, number)."""
        listed = self._split_file(root)
        wanted = None if listed is None else _numbers(listed)
        for picture, pairs in scan_mapping(self._pairs(root)):
            if wanted is not None and picture not in wanted:
                continue
            for pair, number in pairs.items() if isinstance(pairs, dict) else [("", pairs)]:
                yield Raw(f"{picture} {pair}".strip(), (picture, pair, number))

    def _row(self, raw: Raw, infos: dict[str, Any], images: Path) -> Sourced:
        picture, pair, number = raw.value
        one, two = _pair(pair)
        if type(number) is not int or not 1 <= number <= len(RELATIONS):
            raise UnusableError(f"relation {number!r} is none of 1 to {len(RELATIONS)}")
        if picture not in infos:
            raise UnusableError(f"picture {picture} is not in annotation_image_info.json")
        boxes = as_row(_Info, infos[picture]).bbox
        if not 1 <= one <= len(boxes) or not 1 <= two <= len(boxes) or one == two:
            raise UnusableError(f"pair {pair!r}: the picture has {len(boxes)} people, counted from 1")
        places = [_place(boxes[person - 1]) for person in (one, two)]
        text = (
            f"Two people stand in the boxes {places[0]} and {places[1]} (left, top, right, bottom, in pixels). "
            "What is the relation between them?"
        )
        return Sourced(
            question=Question(
                id=f"{self.name}-{picture}-{one}-{two}",
                text=text,
                images=(images / f"{picture.zfill(5)}.jpg",),
                choices=RELATIONS,
                answer=RELATIONS[number - 1],
                source=self.name,
                meta={"split": self.split, "people": [one, two]},
            ),
            turns=one_round(lettered(text, RELATIONS), letter(number - 1)),
        )


def _numbers(path: Path) -> set[str]:
    """The numbers of a split's pictures.

    Raises:
        RecordError: the file is no list.
    """
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read: {error}", hint="download the file again") from error
    if not isinstance(numbers, list):
        raise RecordError(f"{path} is no list of numbers", hint="download the file again")
    return {str(number) for number in numbers}


def _pair(text: str) -> tuple[int, int]:
    words = text.split()
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        raise UnusableError(f"{text!r} is no pair of people")
    return int(words[0]), int(words[1])


def _place(box: list[float | int]) -> str:
    if len(box) != 4:
        raise UnusableError(f"a box of {len(box)} numbers")
    return "[" + ", ".join(f"{side:.0f}" for side in box) + "]"
