"""A dataset in the formats that other trainers read.

    trl            OUT/train.jsonl: `messages` whose `content` is a list of typed parts, and `images`
                   (TRL documentation, "Dataset formats and types", section "Vision datasets")
    llama-factory  OUT/train.json: a JSON list of `messages` and `images`, with <image> in the text where the picture
                   goes, and OUT/dataset_info.json, which describes it in the sharegpt form
                   (LLaMA-Factory, data/README.md, sections "Sharegpt Format" and "Multimodal Dataset")
    ms-swift       OUT/train.jsonl: `messages` and `images`, <image> as above; rows about no picture have no `images`
                   (ms-swift documentation, "Custom Dataset", section on multimodal data)
    parquet        OUT/train.parquet: id, images (list of paths), messages (list of role and content); needs the extra
                   `data`. The rows of ms-swift as columns; any reader of parquet can query them

All four put the picture first in the first user turn, as the public training code does. `images` are paths: absolute,
as these trainers look from where they are started, unless they are asked to stay relative to the folder of pictures.
Pictures are not copied. Rows are read and written one by one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from stepsight.data.staged_rows import PLACEHOLDER, SetAside, StagedRow, scan_rows
from stepsight.errors import InputError
from stepsight.files import whole_file
from stepsight.parquet import write_parquet
from stepsight.records import Record

DATASET = "stepsight"
"""What the dataset is called in `dataset_info.json`."""


class Target(StrEnum):
    """Who is to read the dataset."""

    TRL = "trl"
    LLAMA_FACTORY = "llama-factory"
    MS_SWIFT = "ms-swift"
    PARQUET = "parquet"


class ChatMessage(Record):
    """One turn."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatRow(Record):
    """A row as chat: the first user turn holds <image> once for each picture."""

    id: str
    messages: tuple[ChatMessage, ...]
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """What was written, and the rows that were not, by reason."""

    path: Path
    rows: int
    set_aside: Mapping[str, int]


def export(
    rows: Path,
    images: Path,
    out: Path,
    target: Target,
    *,
    relative: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Exported:
    """Write a dataset for another trainer; rows that cannot be used are left out and counted.

    Args:
        rows: a file in the public format.
        images: the folder that `image` paths start from.
        out: folder, made if absent.
        target: who is to read it.
        relative: leave paths relative to `images`.
        progress: called with the number of rows read.

    Raises:
        RecordError: `rows` cannot be read.
        InputError: no row is sound, or `out` would overwrite `rows`.
        MissingExtraError: parquet is asked for and pyarrow is not installed.
    """
    reasons: dict[str, int] = {}
    path = out / {Target.LLAMA_FACTORY: "train.json", Target.PARQUET: "train.parquet"}.get(target, "train.jsonl")
    if path.exists() and path.samefile(rows):
        raise InputError(f"{path} is what is read", hint="choose another folder")

    def chats() -> Iterator[ChatRow]:
        found = False
        for number, one in enumerate(scan_rows(rows, images), start=1):
            if isinstance(one, SetAside):
                reasons[one.kind] = reasons.get(one.kind, 0) + 1
            else:
                found = True
                yield chat_of(one.row, images=None if relative else images.resolve())
            progress(number)
        if not found:
            counts = ", ".join(f"{count} {kind}" for kind, count in reasons.items())
            raise InputError(f"{rows} has no sound row ({counts or 'it is empty'})", hint="check --images")

    if target is Target.PARQUET:
        return Exported(path, write_parquet(path, chats(), ChatRow), reasons)
    as_row = _typed if target is Target.TRL else _plain
    count = 0
    with whole_file(path) as stream:
        listed = target is Target.LLAMA_FACTORY
        for count, chat in enumerate(chats(), start=1):
            line = json.dumps(as_row(chat, always=listed), ensure_ascii=False)
            head = ("[\n" if count == 1 else ",\n") if listed else ""
            stream.write(f"{head}{line}{'' if listed else chr(10)}".encode())
        if listed:
            stream.write(b"\n]\n")
    if target is Target.LLAMA_FACTORY:
        with whole_file(out / "dataset_info.json") as stream:
            stream.write(json.dumps(_INFO, indent=2).encode() + b"\n")
    return Exported(path, count, reasons)


def chat_of(row: StagedRow, *, images: Path | None) -> ChatRow:
    """A row as chat; paths start from `images`, or stay as they are if that is None."""
    messages = [] if row.system is None else [ChatMessage(role="system", content=row.system)]
    for number, (user, assistant) in enumerate(row.exchanges):
        head = PLACEHOLDER if row.image is not None and number == 0 else ""
        messages += [
            ChatMessage(role="user", content=head + user),
            ChatMessage(role="assistant", content=assistant),
        ]
    shown = () if row.image is None else (row.image if images is None else str(images / row.image),)
    return ChatRow(id=row.id, messages=tuple(messages), images=shown)


def _plain(chat: ChatRow, *, always: bool) -> dict[str, Any]:
    row = chat.model_dump(mode="json", exclude={"id"})
    if not (always or chat.images):
        del row["images"]
    return row


def _typed(chat: ChatRow, *, always: bool) -> dict[str, Any]:
    messages = []
    for message in chat.messages:
        text = message.content.removeprefix(PLACEHOLDER)
        parts: list[dict[str, str]] = [{"type": "text", "text": text}]
        if text != message.content:
            parts.insert(0, {"type": "image"})
        messages.append({"role": message.role, "content": parts})
    return {"messages": messages, "images": list(chat.images)}


_INFO = {
    DATASET: {
        "file_name": "train.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    }
}
