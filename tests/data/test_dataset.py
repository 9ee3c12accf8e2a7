"""What a build leaves: a folder that every reader of the public format takes as it is."""

from __future__ import annotations

import builtins
import errno
import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.data.lessons import lesson, number_in, staged, teacher

from stepsight.assembly import LoadedModel
from stepsight.cli.app import run
from stepsight.data.exporting import ChatRow
from stepsight.data.manifest import Manifest, check_manifest, read_manifest, state_of
from stepsight.data.staged_rows import read_rows
from stepsight.jsonl import write_jsonl
from stepsight.model_folders import ModelCard
from stepsight.parquet import scan_parquet
from stepsight.prompts.teacher import teacher_prompts
from stepsight.protocols import SampleRequest


def loaded(wrong: tuple[str, ...] = ("3",)) -> LoadedModel:
    def say(request: SampleRequest) -> str:
        return staged("99" if number_in(request) in wrong else number_in(request))

    return LoadedModel(teacher(say), ModelCard(name="scripted"))


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Six questions about five pictures, of two sources; two of them are turns of one row."""
    folder = tmp_path / "asked"
    for number in range(5):
        path = folder / f"pictures/coco/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + number, 20), (40 * number, 9, 9)).save(path)

    def about(picture: int, **meta: object) -> dict[str, object]:
        return {"images": (f"pictures/coco/{picture}.png",), "meta": {"image": f"coco/{picture}.png", **meta}}

    asked = [lesson(number, **about(number)).question for number in range(4)]
    asked.append(lesson(4, source="other", **about(4, row="r")).question)
    asked.append(lesson(5, source="other", **about(4, row="r", turn=1, earlier=[["Which?", "4"]])).question)
    write_jsonl(folder / "questions.jsonl", asked)
    return folder / "questions.jsonl"


def build(questions: Path, out: Path, *more: str, model: LoadedModel | None = None) -> int:
    return run(["data", "build", str(questions), "--out", str(out), *more], model=model or loaded())


def manifest_of(out: Path) -> Manifest:
    found = read_manifest(out)
    assert found is not None
    return found


def pictures_in(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))


def test_the_folder_is_read_without_another_word(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert build(questions, out) == 0
    assert pictures_in(out) == [f"coco/{number}.png" for number in (0, 1, 2, 4)]  # not of the reject
    capsys.readouterr()
    assert run(["data", "audit", str(out), "--allow", "twin_picture=1"]) == 0
    assert "4 rows, 5 turns, 4 pictures" in capsys.readouterr().out
    assert run(["data", "sheet", str(out), "--out", str(tmp_path / "sheet.html")]) == 0
    page = (tmp_path / "sheet.html").read_text()
    assert "Changed since" not in page
    assert "scripted" in page
    assert "What became of the questions" in page
    assert run(["data", "export", str(out), "--to", "trl", "--out", str(tmp_path / "trl")]) == 0
    first = json.loads((tmp_path / "trl/train.jsonl").read_text().splitlines()[0])
    assert Path(first["images"][0]).is_file()
    assert run(["data", "import", str(out), "--out", str(tmp_path / "in"), "--decode", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["set_aside"] == {}
    for_training = read_rows(out / "train.jsonl", out)
    assert (len(for_training.rows), for_training.faults) == (4, ())


def test_the_manifest_says_what_it_is_made_of(questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert build(questions, out, "--price-in", "1", "--price-out", "2") == 0
    manifest = manifest_of(out)
    assert (manifest.made_by, manifest.teacher, manifest.rows, manifest.turns) == ("build", "scripted", 4, 5)
    assert manifest.sources == {"other": 1, "test": 3}
    assert manifest.set_aside == {"disagrees": 1}
    assert manifest.outcomes == {"other": {"kept": 2}, "test": {"disagrees": 1, "kept": 3}}
    assert manifest.recipe == state_of(out / "recipe.yaml").sha256
    assert set(manifest.prompts) >= {"teacher-1 ask", "teacher-1 agree", "teacher-1 stage caption"}
    assert set(manifest.files) == {"train.jsonl", "rejects.jsonl", "train.parquet"}
    assert check_manifest(out, manifest) == ()
    assert manifest.cost is not None
    assert manifest.cost.requests == 6
    assert manifest.cost.dollars is not None
    assert manifest.cost.dollars > 0


def test_every_text_of_a_set_of_prompts_has_its_hash() -> None:
    prompts = teacher_prompts("teacher-1")
    assert len(set(prompts.hashes.values())) == len(prompts.hashes) == 8 + len(prompts.stages) + len(prompts.faults)


def test_parquet_has_the_rows_of_the_export(questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert build(questions, out) == 0
    rows = list(scan_parquet(out / "train.parquet", ChatRow))
    command = ["data", "export", str(out), "--to", "parquet", "--relative", "--out", str(tmp_path / "parquet")]
    assert run(command) == 0
    assert rows == list(scan_parquet(tmp_path / "parquet/train.parquet", ChatRow))
    assert isinstance(rows[0], ChatRow)
    assert rows[0].images == ("coco/0.png",)


def test_without_pyarrow_the_rest_is_made_and_it_is_said(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert build(questions, out) == 0
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert build(questions, out, "--resume") == 0
    assert "stepsight[data]" in capsys.readouterr().err
    assert not (out / "train.parquet").exists()
    assert set(manifest_of(out).files) == {"train.jsonl", "rejects.jsonl"}


def test_pictures_are_linked_copied_or_left(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = questions.parent / "pictures/coco/0.png"
    assert build(questions, tmp_path / "link") == 0
    assert (tmp_path / "link/coco/0.png").samefile(source)
    assert build(questions, tmp_path / "copy", "--pictures", "copy") == 0
    assert not (tmp_path / "copy/coco/0.png").samefile(source)
    assert (tmp_path / "copy/coco/0.png").read_bytes() == source.read_bytes()
    assert build(questions, tmp_path / "leave", "--pictures", "leave") == 0
    assert pictures_in(tmp_path / "leave") == []
    folder = str(questions.parent / "pictures")
    assert run(["data", "import", str(tmp_path / "leave"), "--images", folder, "--out", str(tmp_path / "in")]) == 0

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    assert build(questions, tmp_path / "apart") == 0
    assert pictures_in(tmp_path / "apart") == pictures_in(tmp_path / "link")
    assert not (tmp_path / "apart/coco/0.png").samefile(source)
    capsys.readouterr()
    assert build(questions, tmp_path / "no", "--pictures", "move") == 2
    assert "link, copy, leave" in capsys.readouterr().err


def test_a_link_to_a_picture_becomes_the_picture(questions: Path, tmp_path: Path) -> None:
    source = questions.parent / "pictures/coco/0.png"
    source.rename(tmp_path / "elsewhere.png")
    source.symlink_to(tmp_path / "elsewhere.png")
    assert build(questions, tmp_path / "out") == 0
    assert not (tmp_path / "out/coco/0.png").is_symlink()


def test_placing_goes_on_where_it_was(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    opened, wanted = builtins.open, 2

    def full(self: Path, mode: str = "r", *rest: object) -> object:
        nonlocal wanted
        if "coco" in self.parts and "w" in mode and (wanted := wanted - 1) < 0:
            raise OSError(errno.ENOSPC, "no space left")
        return opened(self, mode)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        assert build(questions, out, "--pictures", "copy") == 2
    assert "free space" in capsys.readouterr().err
    assert pictures_in(out) == ["coco/0.png", "coco/1.png"]
    assert not (out / "train.jsonl").exists()  # it would name pictures that are not there
    assert build(questions, out, "--pictures", "copy", "--resume", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["pictures"], told["asked"], told["rows"]) == (2, 0, 4)


def test_a_picture_that_is_gone_or_another_is_named(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert build(questions, out) == 0
    (out / "coco/0.png").unlink()
    (questions.parent / "pictures/coco/0.png").rename(tmp_path / "0.png")
    (out / "coco/1.png").unlink()
    (out / "coco/1.png").write_bytes(b"of something else")
    assert build(questions, out, "--resume") == 2
    told = capsys.readouterr().err
    assert "2 pictures are not in" in told
    assert "question q0" in told
    (tmp_path / "0.png").rename(questions.parent / "pictures/coco/0.png")
    (out / "coco/1.png").unlink()
    assert build(questions, out, "--resume") == 0


def test_pictures_may_have_moved_as_one_folder(questions: Path, tmp_path: Path) -> None:
    (questions.parent / "pictures").rename(tmp_path / "moved")
    assert build(questions, tmp_path / "out", "--images", str(tmp_path / "moved")) == 0
    assert pictures_in(tmp_path / "out") == [f"coco/{number}.png" for number in (0, 1, 2, 4)]
