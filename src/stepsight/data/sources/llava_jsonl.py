"""Rows of LLaVA's form as JSON lines, one's own among them: `*.jsonl` beside the pictures.

{"id", "image": "name.png", "conversations": [{"from": "human", "value"}, {"from": "gpt", "value"}], "hints": [...]}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stepsight.data.sources.conversations import conversation
from stepsight.data.sources.reading import Raw, UnusableError, count_rows, read_rows
from stepsight.data.sources.source import Found, SetAside, Sourced
from stepsight.errors import RecordError


@dataclass(frozen=True)
class LlavaJsonl:
    """All `*.jsonl` of a folder below the root; pictures start from its `images`, or from itself if it has none."""

    folder: str = "llava_jsonl"
    name: str = "llava_jsonl"
    licence: str = "yours to say"
    homepage: str = "rows of your own"
    paper_count: int | None = None

    @property
    def layout(self) -> str:
        """Which files are expected."""
        return f"{self.folder}/*.jsonl in LLaVA's form, pictures below {self.folder}/images/ or {self.folder}/"

    def find(self, root: Path) -> Found:
        """Count the lines of each file."""
        files = self._files(root)
        if not files:
            return Found(missing=(f"{self.folder}/*.jsonl",))
        return Found(tuple(count_rows(path, _lines(path)) for path in files))

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each line; ids are `llava_jsonl-{file}-{line}`, and a row is named by its line."""
        images = root / self.folder / "images"
        images = images if images.is_dir() else root / self.folder
        for path in self._files(root):
            yield from read_rows(self.name, path, _lines(path), partial(self._row, path=path, images=images))

    def _files(self, root: Path) -> list[Path]:
        return sorted((root / self.folder).glob("*.jsonl"))

    def _row(self, raw: Raw, path: Path, images: Path) -> Sourced:
        try:
            value: Any = json.loads(raw.value)
        except (ValueError, RecursionError) as error:
            raise UnusableError(f"no JSON: {error}") from error
        return conversation(value, identity=f"{self.name}-{path.stem}-{raw.row}", source=self.name, images=images)


def _lines(path: Path) -> Iterator[Raw]:
    """The lines of a file that are not blank, numbered from 1, as bytes: a badly encoded one spoils only itself."""
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield Raw(number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}", hint="check the file") from error
