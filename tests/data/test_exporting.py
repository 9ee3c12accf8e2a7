"""Round trips: what each trainer would read, by its documented format, are the rows that went in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.data.datasets import answer, pairs, row, save, write_pictures

from stepsight.data.exporting import ChatRow, Target, export
from stepsight.data.staged_rows import StagedRow
from stepsight.errors import InputError
from stepsight.jsonl import read_jsonl
from stepsight.parquet import scan_parquet

Chat = tuple[list[str], list[tuple[str, str]]]
"""Paths of pictures, and (user, assistant) texts."""


@pytest.fixture
def dataset(tmp_path: Path) -> tuple[Path, Path]:
    images = write_pictures(tmp_path / "in" / "vg").parent
    turns = pairs("How many?\n<image>", answer("4"), "Ünd <b>?", answer("5"))
    rows = (
        {"id": "turns", "image": "vg/sound.png", "conversations": turns},
        row("words", question="Why?"),
        row("zero", image="vg/empty.png"),
    )
    return save(images / "train.jsonl", *rows), images


def exchanges(messages: list[tuple[str, str]]) -> list[tuple[str, str]]:
    assert [role for role, _ in messages] == ["user", "assistant"] * (len(messages) // 2)
    texts = [text for _, text in messages]
    return list(zip(texts[::2], texts[1::2], strict=True))


def read_trl(out: Path) -> list[Chat]:
    """Documented: `content` is a list of {"type": "image"} and {"type": "text", "text": ...}; `images` the pictures."""
    chats = []
    for line in (out / "train.jsonl").read_text(encoding="utf-8").splitlines():
        loaded = json.loads(line)
        assert set(loaded) == {"messages", "images"}
        parts = [part for message in loaded["messages"] for part in message["content"]]
        assert [part for part in parts if part["type"] == "image"] == [{"type": "image"}] * len(loaded["images"])
        for message in loaded["messages"]:
            kinds = [part["type"] for part in message["content"]]
            assert kinds in (["text"], ["image", "text"])
            assert kinds == ["text"] or message is loaded["messages"][0]
        texts = [(message["role"], message["content"][-1]["text"]) for message in loaded["messages"]]
        chats.append((loaded["images"], exchanges(texts)))
    return chats


def plain(loaded: dict[str, Any]) -> Chat:
    """Documented: as many <image> in the texts as there are `images`."""
    images = loaded.get("images", [])
    texts = [(message["role"], message["content"]) for message in loaded["messages"]]
    assert sum(text.count("<image>") for _, text in texts) == len(images)
    assert images == [] or texts[0][1].startswith("<image>")
    return images, exchanges([(role, text.replace("<image>", "")) for role, text in texts])


def read_llama_factory(out: Path) -> list[Chat]:
    (described,) = json.loads((out / "dataset_info.json").read_text()).values()
    assert described["formatting"] == "sharegpt"
    columns, tags = described["columns"], described["tags"]
    assert (tags["user_tag"], tags["assistant_tag"]) == ("user", "assistant")
    chats = []
    for loaded in json.loads((out / described["file_name"]).read_text(encoding="utf-8")):
        messages = [
            {"role": message[tags["role_tag"]], "content": message[tags["content_tag"]]}
            for message in loaded[columns["messages"]]
        ]
        chats.append(plain({"messages": messages, "images": loaded[columns["images"]]}))
    return chats


def read_swift(out: Path) -> list[Chat]:
    lines = (out / "train.jsonl").read_text(encoding="utf-8").splitlines()
    loaded = [json.loads(line) for line in lines]
    assert all("messages" in one and one.get("images") != [] for one in loaded)
    return [plain(one) for one in loaded]


def read_parquet(out: Path) -> list[Chat]:
    rows = list(scan_parquet(out / "train.parquet", ChatRow))
    assert all(isinstance(one, ChatRow) for one in rows)
    return [plain(one.model_dump(mode="json")) for one in rows if isinstance(one, ChatRow)]


READERS: dict[Target, Callable[[Path], list[Chat]]] = {
    Target.TRL: read_trl,
    Target.LLAMA_FACTORY: read_llama_factory,
    Target.MS_SWIFT: read_swift,
    Target.PARQUET: read_parquet,
}


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("target", Target)
def test_a_round_trip(dataset: tuple[Path, Path], tmp_path: Path, target: Target, relative: bool) -> None:
    if target is Target.PARQUET:
        pytest.importorskip("pyarrow")
    rows, images = dataset
    exported = export(rows, images, tmp_path / "out", target, relative=relative)
    assert (exported.rows, exported.set_aside) == (2, {"picture_empty": 1})
    assert exported.path.is_file()
    expected = [
        ([] if one.image is None else [one.image if relative else str(images.resolve() / one.image)], one.exchanges)
        for one in read_jsonl(rows, StagedRow)[:2]
    ]
    chats = READERS[target](tmp_path / "out")
    assert chats == expected
    assert [len(said) for _, said in chats] == [2, 1]


def test_a_dataset_without_a_sound_row_is_refused(tmp_path: Path) -> None:
    rows = save(tmp_path / "train.jsonl", row("1", image="gone.png"))
    for target in Target:
        with pytest.raises(InputError, match="no sound row"):
            export(rows, tmp_path, tmp_path / "out", target)
    assert not list((tmp_path / "out").iterdir())
    with pytest.raises(InputError, match="is what is read"):
        export(rows, tmp_path, tmp_path, Target.TRL)
