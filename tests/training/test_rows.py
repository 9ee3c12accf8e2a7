"""Rows in the public dataset's format: what is sound is learned from, the rest is set aside by name."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from stepsight.errors import InputError
from stepsight.stages import render
from stepsight.training.encoding import IGNORED
from stepsight.training.recipe_data import StagedRows
from stepsight.training.rows import StagedDataset
from stepsight.world.drawing import draw_picture
from stepsight.world.split import pose, save_picture


def pairs(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


def write(folder: Path, *rows: object) -> StagedRows:
    """A file of rows (texts are written as they are), with pictures `0.png` and a damaged `1.png` beside it."""
    save_picture(draw_picture(pose("train", seed=0, index=0).scene), folder / "images" / "0.png")
    whole = (folder / "images" / "0.png").read_bytes()
    (folder / "images" / "1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "images" / "empty.png").write_bytes(b"")
    path = folder / "train.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return StagedRows(rows=path, images=folder / "images")


def test_a_row_is_one_conversation_with_the_picture_first(tmp_path: Path, processor: Any) -> None:
    answer = render(pose("train", seed=0, index=0).stages)
    row = {"id": "1", "image": "0.png", "conversations": pairs("How many?\n<image>", f" {answer}\n", "Sure?", "yes")}
    encoded = StagedDataset(write(tmp_path, row), processor, length=1)[0]
    text = processor.tokenizer.decode(encoded.ids.tolist())
    assert text.replace("<image>", "") == (
        f"<|user|>How many?<|end|><|assistant|>{answer}<|end|><|user|>Sure?<|end|><|assistant|>yes<|end|>"
    )
    assert text.startswith("<|user|>" + "<image>" * 49 + "How")
    learned = processor.tokenizer.decode(encoded.labels[encoded.labels != IGNORED].tolist())
    assert learned == f"{answer}<|end|>yes<|end|>"


def test_every_epoch_holds_every_row_in_an_order_of_its_own(tmp_path: Path, processor: Any) -> None:
    data = write(tmp_path, *({"id": str(n), "conversations": pairs("a?", str(n))} for n in range(10)))
    dataset = StagedDataset(data, processor, length=30)
    texts = [processor.tokenizer.decode(dataset[index].ids.tolist()) for index in range(30)]
    epochs = [texts[start : start + 10] for start in (0, 10, 20)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert len({frozenset(epoch) for epoch in epochs}) == 1
    assert len(set(texts)) == 10
    backwards = [processor.tokenizer.decode(dataset[index].ids.tolist()) for index in reversed(range(30))]
    assert backwards[::-1] == texts
    other = StagedDataset(data.model_copy(update={"seed": 1}), processor, length=10)
    assert [processor.tokenizer.decode(other[index].ids.tolist()) for index in range(10)] != epochs[0]


def test_a_damaged_picture_gives_its_place_to_the_next_row(
    tmp_path: Path, processor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"id": str(n), "image": f"{n}.png", "conversations": pairs("a?", str(n))} for n in range(2)]
    dataset = StagedDataset(write(tmp_path, *rows), processor, length=2)
    assert not dataset.faults, "the header of a cut picture is sound"
    with caplog.at_level(logging.WARNING):
        texts = {processor.tokenizer.decode(dataset[index].ids.tolist())[-8:] for index in range(2)}
    assert texts == {"0<|end|>"}
    assert "a row is passed over" in caplog.text


def test_no_sound_picture_at_all_is_an_error(tmp_path: Path, processor: Any) -> None:
    data = write(tmp_path, {"id": "1", "image": "1.png", "conversations": pairs("a?", "b")})
    with pytest.raises(InputError, match="not one of 1 rows can be read"):
        StagedDataset(data, processor, length=1)[0]
