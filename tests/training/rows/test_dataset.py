"""Rows in the public dataset's format: what is sound is learned from, the rest is set aside by name."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from stepsight.data.dataset import PARQUET
from stepsight.data.exporting import Target, export
from stepsight.errors import InputError, ModelError, RecordError
from stepsight.stages import render
from stepsight.training.encoding.exchange import IGNORED
from stepsight.training.recipe.data import StagedRows
from stepsight.training.rows.dataset import StagedDataset
from stepsight.training.rows.files import BUNDLE
from stepsight.world.drawing import draw_picture
from stepsight.world.split import pose, save_picture

from ..tiny_rows import tiny


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


def replies(dataset: StagedDataset, processor: Any, indices: Iterable[int]) -> list[str]:
    """What is learned of rows."""
    rows = [dataset[index] for index in indices]
    return [processor.tokenizer.decode(row.labels[row.labels != IGNORED].tolist()) for row in rows]


def text_rows(count: int) -> list[dict[str, Any]]:
    """Rows whose replies have 1 to `count` words, in no order."""
    return [
        {"id": str(number), "conversations": pairs("a?", f"{number}" + " red" * (number * 7 % count))}
        for number in range(count)
    ]


def padded(lengths: list[int]) -> int:
    """Tokens of batches of four, padded."""
    return sum(4 * max(lengths[start : start + 4]) for start in range(0, len(lengths), 4))


def test_batches_hold_rows_of_like_length_and_epochs_every_row_once(tmp_path: Path, processor: Any) -> None:
    # 50 rows in batches of 4: every other epoch ends, and the next begins, within a batch.
    data = write(tmp_path, *text_rows(50))
    dataset = StagedDataset(data, processor, batch=4, length=150)
    lengths = [len(dataset[index].ids) for index in range(150)]
    texts = replies(dataset, processor, range(150))
    for start in (0, 50, 100):
        assert sorted(texts[start : start + 50]) == sorted(texts[:50])
        assert len(set(texts[start : start + 50])) == 50
    assert texts[:50] != texts[50:100]
    # The second epoch's windows begin behind the batch that both share. Lengths are guessed, but well.
    for first in (0, 52, 100):
        assert padded(lengths[first : first + 32]) <= 1.1 * padded(sorted(lengths[first : first + 32]))
    plain = StagedDataset(data.model_copy(update={"sorted_by_length": False}), processor, batch=4)
    unsorted = [len(plain[index].ids) for index in range(32)]
    assert padded(unsorted) > 1.3 * padded(sorted(unsorted))
    again = StagedDataset(data, processor, batch=4, length=150)
    assert replies(again, processor, [77, 3, 120]) == [texts[77], texts[3], texts[120]]
    other = StagedDataset(data.model_copy(update={"seed": 1}), processor, batch=4)
    assert len(other) == other.per_epoch == 50
    assert replies(other, processor, range(50)) != texts[:50]


def test_lengths_are_guessed_well_enough_without_reading_pictures(
    tmp_path: Path, processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{**row, "image": "0.png"} if number % 2 else row for number, row in enumerate(text_rows(60))]
    data = write(tmp_path, *rows)
    with monkeypatch.context() as patched:
        patched.setattr("stepsight.training.rows.files.load_picture", pytest.fail)
        dataset = StagedDataset(data, processor, batch=4)
    lengths = [len(dataset[place].ids) for place in range(60)]
    assert padded(lengths) < 1.2 * sum(lengths)
    assert dataset.pictured == 30


def test_rows_beyond_the_context_are_cut_or_left_out_and_counted(
    tmp_path: Path, processor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    long = "red " * 100
    data = write(
        tmp_path,
        {"id": "short", "conversations": pairs("a?", "b")},
        {"id": "long", "conversations": pairs("a?", long)},
        {"id": "late", "conversations": pairs(long, "b")},
        {"id": "picture", "image": "0.png", "conversations": pairs("a?", long)},
    )
    cut = data.model_copy(update={"context": 60})
    with caplog.at_level(logging.WARNING):
        dataset = StagedDataset(cut, processor)
    assert "rows longer than 60 tokens: 2 are cut, 1 left out" in caplog.text
    assert (len(dataset.rows), dataset.cut, dataset.left_out) == (3, 2, 1)
    rows = [dataset[index] for index in range(3)]
    assert sorted(len(row.ids) for row in rows)[1:] == [60, 60]
    assert all(int((row.labels != IGNORED).sum()) for row in rows)
    assert max(int((row.ids == processor.image_token_id).sum()) for row in rows) == 49
    whole = StagedDataset(cut.model_copy(update={"too_long": "leave_out"}), processor)
    assert (len(whole.rows), whole.cut, whole.left_out) == (1, 0, 3)
    # The picture alone has 49 tokens and its turn one more.
    small = StagedDataset(data.model_copy(update={"context": 49}), processor)
    assert (len(small.rows), small.left_out) == (2, 2)
    with pytest.raises(InputError, match="4 rows are longer than 3 tokens"):
        StagedDataset(data.model_copy(update={"context": 3}), processor)


def test_packed_rows_are_those_of_the_file_and_fit(tmp_path: Path, processor: Any) -> None:
    rows = [{**row, "image": "0.png"} if number % 5 == 0 else row for number, row in enumerate(text_rows(40))]
    data = write(tmp_path, *rows).model_copy(update={"context": 120, "packed": True})
    dataset = StagedDataset(data, processor, batch=2)
    plain = StagedDataset(data.model_copy(update={"packed": False}), processor)
    packs = [dataset[index] for index in range(dataset.per_epoch)]
    assert sum(pack.conversations for pack in packs) == 40
    assert max(len(pack.ids) for pack in packs) <= 120
    assert sum(len(pack.ids) for pack in packs) == sum(len(plain[index].ids) for index in range(40))
    assert sum(len(pack.pictures["pixel_values"]) for pack in packs if pack.pictures) == 8
    learned = "".join(sorted("".join(replies(dataset, processor, range(dataset.per_epoch)))))
    assert learned == "".join(sorted("".join(replies(plain, processor, range(40)))))
    assert dataset.per_epoch < 25
    second = [dataset[index + dataset.per_epoch] for index in range(dataset.per_epoch)]
    assert [len(pack.ids) for pack in second] != [len(pack.ids) for pack in packs]
    assert sorted(len(pack.ids) for pack in second) == sorted(len(pack.ids) for pack in packs)


def test_a_family_that_cannot_be_packed_is_refused_before_rows_are_read(tmp_path: Path) -> None:
    data = StagedRows(rows=tmp_path / "none.jsonl", images=tmp_path, packed=True, context=100)
    with pytest.raises(ModelError, match="MllamaProcessor cannot be packed"):
        StagedDataset(data, tiny("mllama").processor)


def test_a_system_turn_is_read_and_not_learned(tmp_path: Path, processor: Any) -> None:
    system = {"from": "system", "value": " Be brief.\n"}
    row = {"id": "1", "image": "0.png", "conversations": [system, *pairs("a?", "b")]}
    dataset = StagedDataset(write(tmp_path, row), processor)
    text = processor.tokenizer.decode(dataset[0].ids.tolist()).replace("<image>", "")
    assert text == "<|system|>Be brief.<|end|><|user|>a?<|end|><|assistant|>b<|end|>"
    assert replies(dataset, processor, [0]) == ["b<|end|>"]


def test_rows_that_the_template_refuses_are_set_aside_by_line(tmp_path: Path) -> None:
    row = {"id": "1", "conversations": pairs("a?", "b")}
    mark = {"id": "2", "conversations": pairs("what is <|boi|>?", "b")}
    data = write(tmp_path, row, mark)
    dataset = StagedDataset(data, tiny("gemma3").processor)
    assert len(dataset.rows) == 1
    assert "line 2, row 2: the conversation has 1 marks of pictures for 0 pictures" in str(dataset.faults[0])


def rows_as(kind: str, folder: Path) -> StagedRows:
    """Nine rows, some about a picture, as lines or in one of the forms that parquet files have."""
    lines: list[dict[str, Any]] = [
        {
            "id": str(number),
            **({"image": "0.png"} if number % 3 == 0 else {}),
            "conversations": pairs("a?", f"r{number}"),
        }
        for number in range(9)
    ]
    data = write(folder, *lines)
    path = folder / PARQUET
    if kind == "exported":
        export(data.rows, data.images, folder, Target.PARQUET, relative=True)
    elif kind in ("bytes", "paths"):
        for line in lines:
            picture = (data.images / "0.png").read_bytes() if kind == "bytes" else None
            line["image"] = {"bytes": picture, "path": "0.png"} if "image" in line else None
            line["other"] = 1
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(lines), path, row_group_size=2)
        if kind == "bytes":
            data = data.model_copy(update={"images": folder / "nowhere"})
    else:
        return data
    return data.model_copy(update={"rows": path})


@pytest.mark.parametrize("kind", ["exported", "bytes", "paths"])
def test_parquet_gives_the_rows_that_lines_give(kind: str, tmp_path: Path, processor: Any) -> None:
    (tmp_path / "lines").mkdir()
    (tmp_path / "table").mkdir()
    lines = StagedDataset(rows_as("lines", tmp_path / "lines"), processor, batch=2)
    table = StagedDataset(rows_as(kind, tmp_path / "table"), processor, batch=2)
    assert table.pictured == lines.pictured == 3
    assert table.per_epoch == 9

    def seen(dataset: StagedDataset, start: int) -> set[tuple[str, float]]:
        rows = [dataset[index] for index in range(start, start + 9)]
        return {
            (processor.tokenizer.decode(row.ids.tolist()), float(sum(v.sum() for v in row.pictures.values())))
            for row in rows
        }

    assert seen(table, 0) == seen(table, 9) == seen(lines, 0)
    assert len(seen(table, 0)) == 9
    assert replies(table, processor, range(9)) != replies(table, processor, range(9, 18))


def test_a_table_is_read_group_by_group_and_a_few_are_kept(
    tmp_path: Path, processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [{"id": str(number), "conversations": pairs("a?", f"r{number}")} for number in range(120)]
    path = tmp_path / "train.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(lines), path, row_group_size=5)
    dataset = StagedDataset(StagedRows(rows=path, images=tmp_path), processor, batch=2)
    read: list[int] = []
    whole = pyarrow.parquet.ParquetFile.read_row_group

    def counted(file: Any, number: int, **options: Any) -> Any:
        read.append(number)
        return whole(file, number, **options)

    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "read_row_group", counted)
    texts = replies(dataset, processor, range(120))
    assert len(set(texts)) == 120
    assert sorted(set(read)) == list(range(24))
    assert len(read) <= 2 * 24, "groups are read about once an epoch, not once a row"
    assert len(dataset._file._table._groups) <= 2 * BUNDLE  # type: ignore[attr-defined]
    neighbours = [abs(int(one[1:-7]) - int(other[1:-7])) for one, other in pairwise(texts)]
    assert sum(gap < 5 for gap in neighbours) < 60, "rows that follow each other come from several groups"


def test_unsound_rows_of_a_table_are_set_aside_with_their_numbers(tmp_path: Path, processor: Any) -> None:
    rows = [
        {"id": "a", "conversations": pairs("a?", "b"), "image": None},
        {"id": "b", "conversations": pairs("a?"), "image": None},
        {"id": "c", "conversations": pairs("a?", "b"), "image": {"bytes": b"no picture", "path": None}},
        {"id": "d", "conversations": pairs("a?", "b"), "image": {"bytes": None, "path": "none.png"}},
        {"id": "e", "conversations": pairs("a?", "b"), "image": {"bytes": b"", "path": "empty.png"}},
    ]
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    dataset = StagedDataset(StagedRows(rows=path, images=tmp_path), processor)
    assert len(dataset.rows) == 1
    assert [str(fault).partition(":")[0] for fault in dataset.faults] == [
        f"{path}, row 2",
        f"{path}, row 3, c",
        f"{path}, row 4, d",
        f"{path}, row 5, e",
    ]
    for fault, reason in zip(
        dataset.faults, ("pairs of human and gpt", "not a picture", "no file", "empty"), strict=True
    ):
        assert reason in str(fault)


def test_files_that_are_no_tables_of_rows_are_refused(tmp_path: Path, processor: Any) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(RecordError, match="cannot be read"):
        StagedDataset(StagedRows(rows=path, images=tmp_path), processor)
    pyarrow.parquet.write_table(pyarrow.table({"question": ["a"]}), path)
    with pytest.raises(RecordError, match="neither a column conversations nor messages, but question"):
        StagedDataset(StagedRows(rows=path, images=tmp_path), processor)
    with pytest.raises(RecordError, match="No such file"):
        StagedDataset(StagedRows(rows=tmp_path / "none.jsonl", images=tmp_path), processor)


def test_a_file_that_changed_is_noticed(tmp_path: Path, processor: Any) -> None:
    data = write(tmp_path, *text_rows(3))
    dataset = StagedDataset(data, processor)
    data.rows.write_text("x" * 5000, encoding="utf-8")
    with pytest.raises(RecordError, match="not the row that it was"):
        dataset[0]
