"""The public dataset LLaVA-CoT-100k, or any other in its format, into a folder of our own.

    OUT/train.jsonl       every sound row, as published, in the order of the file; multi-turn rows whole
    OUT/set_aside.jsonl   every other row: file, line, id, kind and reason
    OUT/manifest.json     counts by source and by reason, hashes of both files

Pictures stay where they are. Keys other than `id`, `image` and `conversations` are dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stepsight.data.manifest import Manifest, states_of, versions, write_manifest
from stepsight.data.row_pictures import check_folder_of_pictures
from stepsight.data.staged_rows import TRAIN, SetAside, StagedRow, scan_rows
from stepsight.errors import InputError
from stepsight.files import whole_file
from stepsight.jsonl import write_jsonl

SET_ASIDE = "set_aside.jsonl"


@dataclass(frozen=True)
class Imported:
    """What became of the rows of a file."""

    out: Path
    manifest: Manifest

    @property
    def set_aside(self) -> int:
        """How many rows were not taken."""
        return sum(self.manifest.set_aside.values())


def import_rows(
    rows: Path,
    images: Path,
    out: Path,
    *,
    decode: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Imported:
    """Read a file of rows and write the sound ones; memory stays flat.

    Args:
        rows: `train.jsonl` as published.
        images: the folder that `image` paths start from: the unpacked archive.
        out: folder, made if absent.
        decode: decode every picture whole, not only its header.
        progress: called with the number of rows read.

    Raises:
        RecordError: the file cannot be read.
        InputError: no folder of pictures, no sound row, or `out` would overwrite `rows`.
    """
    check_folder_of_pictures(images)
    if (out / TRAIN).exists() and (out / TRAIN).samefile(rows):
        raise InputError(f"{out / TRAIN} is what is read", hint="choose another folder")
    sources: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    turns = 0
    with whole_file(out / SET_ASIDE) as aside:

        def sound() -> Iterator[StagedRow]:
            nonlocal turns
            for number, one in enumerate(scan_rows(rows, images, staged=True, decode=decode), start=1):
                if isinstance(one, SetAside):
                    reasons[one.kind] += 1
                    aside.write(one.model_dump_json().encode() + b"\n")
                else:
                    sources[one.row.source] += 1
                    turns += len(one.row.exchanges)
                    yield one.row
                progress(number)
            if not sources:
                counts = ", ".join(f"{count} {kind}" for kind, count in reasons.most_common())
                raise InputError(f"{rows} has no sound row ({counts or 'it is empty'})", hint="check --images")

        write_jsonl(out / TRAIN, sound())
    manifest = Manifest(
        made_by="import",
        rows=sum(sources.values()),
        turns=turns,
        sources=dict(sources.most_common()),
        set_aside=dict(reasons.most_common()),
        files=states_of(out, (TRAIN, SET_ASIDE)),
        versions=versions(),
    )
    write_manifest(out, manifest)
    return Imported(out, manifest)
