"""The importer: every kind of dirt of the public dataset is set aside by line and counted; the rest is kept whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.datasets import answer, pairs, row, save, write_pictures

from stepsight.data.importing import SET_ASIDE, import_rows
from stepsight.data.manifest import check_manifest, read_manifest
from stepsight.data.staged_rows import SetAside, StagedRow
from stepsight.errors import InputError, RecordError
from stepsight.jsonl import read_jsonl

PUBLIC = Path(__file__).parents[3] / "shared" / "data" / "llava-cot-100k"


def dirty(tmp_path: Path) -> tuple[Path, Path]:
    """A sound row, a multi-turn row, a row about no picture, and one of each kind of dirt."""
    images = write_pictures(tmp_path / "images" / "vg").parent
    turns = pairs("How many?\n<image>", answer(), "Which?\nA. red\nB. blue", answer("B"))
    rows = (
        row("plain", image="vg/sound.png"),
        {"id": "turns", "image": "vg/other.png", "conversations": turns},
        row("zero", image="vg/empty.png"),
        row("gone", image="vg/gone.png"),
        row("broken", image="vg/cut.png"),
        row("unstaged", image="vg/sound.png", reply="4"),
        row("rewritten", reply="<DESCRIPTION>It shows.</DESCRIPTION>\n\n<CONCLUSION> B </CONCLUSION>"),
        '{"id": "half", "conversations": [{"from": "hum',
        {"id": "one-sided", "conversations": pairs("How many?")},
        row("words"),
    )
    return save(tmp_path / "in.jsonl", *rows), images


def test_each_kind_of_dirt_is_set_aside_and_counted(tmp_path: Path) -> None:
    path, images = dirty(tmp_path)
    seen: list[int] = []
    imported = import_rows(path, images, tmp_path / "out", decode=True, progress=seen.append)
    rows = read_jsonl(tmp_path / "out" / "train.jsonl", StagedRow)
    assert [one.id for one in rows] == ["plain", "turns", "words"]
    assert [len(one.exchanges) for one in rows] == [1, 2, 1]
    assert rows[1].conversations[0].value == "How many?\n<image>", "rows are kept as published"
    aside = read_jsonl(tmp_path / "out" / SET_ASIDE, SetAside)
    assert [(one.line, str(one.kind)) for one in aside] == [
        (3, "picture_empty"),
        (4, "picture_missing"),
        (5, "picture_broken"),
        (6, "format"),
        (7, "format"),
        (8, "malformed_row"),
        (9, "malformed_row"),
    ]
    manifest = imported.manifest
    assert (manifest.rows, manifest.turns, imported.set_aside) == (3, 4, 7)
    assert manifest.sources == {"vg": 2, "text only": 1}
    assert manifest.set_aside["format"] == 2
    assert seen == list(range(1, 11))


def test_the_manifest_is_read_back_and_notices_change(tmp_path: Path) -> None:
    path, images = dirty(tmp_path)
    out = tmp_path / "out"
    assert read_manifest(tmp_path) is None
    manifest = import_rows(path, images, out).manifest
    assert read_manifest(out) == manifest
    assert check_manifest(out, manifest) == ()
    with (out / "train.jsonl").open("a") as stream:
        stream.write("\n")
    (out / SET_ASIDE).unlink()
    first, second = check_manifest(out, manifest)
    assert first.startswith("train.jsonl is not the file that was written")
    assert second == "set_aside.jsonl is gone"
    (out / "manifest.json").write_text('{"rows": 1}')
    with pytest.raises(RecordError, match="no manifest"):
        read_manifest(out)


def test_nothing_is_written_where_nothing_is_sound(tmp_path: Path) -> None:
    path = save(tmp_path / "in.jsonl", row("gone", image="gone.png"))
    with pytest.raises(InputError, match=r"no sound row \(1 picture_missing\)"):
        import_rows(path, tmp_path, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_what_is_read_is_never_overwritten(tmp_path: Path) -> None:
    path = save(tmp_path / "train.jsonl", row("1"))
    with pytest.raises(InputError, match="is what is read"):
        import_rows(path, tmp_path, tmp_path)


@pytest.mark.skipif(not PUBLIC.is_dir(), reason="the sample of the public dataset is not here")
def test_the_public_sample(tmp_path: Path) -> None:
    # Its replies were rewritten by a third party, and must not pass for staged answers.
    with pytest.raises(InputError, match="2 format"):
        import_rows(PUBLIC / "rows_with_rewritten_answers.jsonl", tmp_path, tmp_path / "out")
    quoted = json.loads((PUBLIC / "srpo_readme_row.json").read_text())
    image = tmp_path / "images" / quoted["image"]
    write_pictures(image.parent)
    (image.parent / "sound.png").rename(image)
    public = {"id": "1", "image": quoted["image"], "conversations": pairs(quoted["query"], quoted["content"])}
    manifest = import_rows(save(tmp_path / "in.jsonl", public), tmp_path / "images", tmp_path / "out").manifest
    assert (manifest.sources, manifest.set_aside) == ({"chartqa": 1}, {})
