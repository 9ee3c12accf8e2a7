"""A dataset of the Hugging Face hub on disk: what `save_to_disk` wrote, or a downloaded repository with parquet files.

    hub_folder/dataset_info.json, state.json, data-00000-of-00002.arrow       `Dataset.save_to_disk`
    hub_folder/train/data-00000-of-00001.arrow, hub_folder/dataset_dict.json  `DatasetDict.save_to_disk`
    hub_folder/data/train-00000-of-00004.parquet                              a repository as downloaded

`columns.py` says which columns are read. Needs the extra `data`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepsight.data.sources.columns import BATCH, arrow, scan_parquet_rows
from stepsight.data.sources.parquet import count_table, read_table
from stepsight.data.sources.source import Found, SetAside, Sourced


@dataclass(frozen=True)
class HubFolder:
    """One split of such a folder below the root; of a dataset without splits, all of it."""

    split: str = "train"
    folder: str = "hub_folder"
    name: str = "hub_folder"
    licence: str = "that of its card"
    homepage: str = "https://huggingface.co/datasets"
    paper_count: int | None = None

    @property
    def layout(self) -> str:
        """Which files are expected."""
        return f"{self.folder}/ as save_to_disk writes it (*.arrow), or with data/{self.split}-*.parquet"

    def find(self, root: Path) -> Found:
        """Count the rows of each file."""
        files = self._files(root)
        if not files:
            return Found(missing=(f"{self.folder}/*.arrow or {self.folder}/data/{self.split}-*.parquet",))
        return Found(tuple(count_table(path, _count) for path in files))

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each row; ids are `hub_folder-{file}-{row}`."""
        for path in self._files(root):
            rows = scan_parquet_rows(path) if path.suffix == ".parquet" else _scan_arrow(path)
            yield from read_table(self.name, path, rows, root / self.folder)

    def _files(self, root: Path) -> list[Path]:
        folder = root / self.folder
        places = (
            (folder / self.split, "*.arrow"),
            (folder, "*.arrow"),
            (folder / "data", f"{self.split}-*.parquet"),
            (folder, f"{self.split}-*.parquet"),
            (folder / self.split, "*.parquet"),
        )
        found = (sorted(place.glob(pattern)) for place, pattern in places)
        return next((files for files in found if files), [])


def _scan_arrow(path: Path) -> Iterator[dict[str, Any]]:
    for batch in _batches(path):
        for start in range(0, batch.num_rows, BATCH):
            yield from batch.slice(start, BATCH).to_pylist()


def _count(path: Path) -> int:
    if path.suffix == ".parquet":
        return int(arrow().parquet.read_metadata(path).num_rows)
    return sum(batch.num_rows for batch in _batches(path))


def _batches(path: Path) -> Iterator[Any]:
    # A stream of batches, mapped and not read: counting does not touch the pictures.
    with arrow().memory_map(str(path)) as stream:
        yield from arrow().ipc.open_stream(stream)
