"""From datasets' own files to rows of the output: what `compose` writes is what `build` reads, in their own words."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.data.fixtures import native
from tests.data.fixtures.files import put_picture
from tests.data.fixtures.reading import read
from tests.data.lessons import staged

from stepsight.assembly import LoadedModel
from stepsight.cli.app import run
from stepsight.data.composing import drawn, posed, survey
from stepsight.data.lessons import lesson_of
from stepsight.data.recipe import DataRecipe
from stepsight.data.sources.catalogue import catalogue
from stepsight.data.sources.source import Exchange, Reason, SetAside, Sourced
from stepsight.engines.scripted import ScriptedEngine
from stepsight.jsonl import read_jsonl
from stepsight.model_folders import ModelCard
from stepsight.prompts.answer import question_text
from stepsight.protocols import SampleRequest
from stepsight.records import Question

PAPER = [name for name, source in catalogue().items() if source.paper_count]


def knowing() -> LoadedModel:
    """A teacher that concludes with whatever it is told is the correct answer, and a judge who agrees."""

    def say(request: SampleRequest) -> str:
        text = request.turns[0].text
        if "Other answer:" in text:
            return "same"
        told = text.split("The correct answer is known:\n")[1].split("\n\n")[0]
        return staged(told)

    return LoadedModel(ScriptedEngine(lambda request, slot, seed: say(request)), ModelCard(name="scripted"))


def compose(root: Path, out: Path, *names: str) -> Path:
    recipe = root.parent / "recipe.yaml"
    recipe.write_text(json.dumps({"sources": dict.fromkeys(names, 100), "root": str(root)}))
    assert run(["data", "compose", str(recipe), "--out", str(out), "--partial"]) == 0
    return out


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", PAPER)
def test_every_source_goes_through_to_the_rows_in_its_own_words(name: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    getattr(native, name)(root)
    sourced, _ = read(catalogue()[name], root)
    questions = compose(root, tmp_path / "asked" / "questions.jsonl", name)
    # Whether captions speak of the question is not what is looked at here.
    (tmp_path / "r.yaml").write_text("filters: {topic_words: 0}\n")
    command = ["data", "build", str(questions), "--out", str(tmp_path / "out"), "--recipe", str(tmp_path / "r.yaml")]
    assert run(command, model=knowing()) == 0
    rows = rows_of(tmp_path / "out")
    assert [(row["id"], row["image"]) for row in rows] == [
        (one.question.id, one.question.images[0].relative_to(root).as_posix()) for one in sourced
    ]
    for row, one in zip(rows, sourced, strict=True):
        said = [(turn["from"], turn["value"]) for turn in row["conversations"]]
        assert said[::2] == [("human", turn.question) for turn in one.turns]
        assert said[1::2] == [("gpt", staged(turn.answer)) for turn in one.turns]


def test_turns_know_those_before_them_and_choices_stay_apart_from_words(tmp_path: Path) -> None:
    native.sharegpt4v(tmp_path)
    native.scienceqa(tmp_path)
    found = survey(DataRecipe(sources={"sharegpt4v": 9, "scienceqa": 9}, root=tmp_path))
    one, first, second, science, _ = (q for row in drawn(found) for q in posed(row, tmp_path, tmp_path / "x"))
    assert (one.id, one.text, one.images) == (
        "sharegpt4v-1",
        "What is it?",
        (Path("../coco/train2017/000000000009.jpg"),),
    )
    assert "row" not in one.meta
    assert [question.id for question in (first, second)] == ["sharegpt4v-2", "sharegpt4v-2#1"]
    lesson = lesson_of(second)
    assert (lesson.row, lesson.turn, lesson.image) == ("sharegpt4v-2", 1, "vg/VG_100K/2.jpg")
    assert [(before.question, before.answer) for before in lesson.earlier] == [("Who?", "A man.")]
    assert lesson_of(first).earlier == ()
    assert science.choices == ("Ohio", "Utah")
    assert science.answer == "The answer is B."
    assert question_text(science) == "Which is farthest north?\nContext: N/A\nOptions: (A) Ohio (B) Utah"
    assert lesson_of(science).hints == ("Utah is north.",)


def test_pictures_are_found_from_where_the_questions_stand(tmp_path: Path) -> None:
    root = tmp_path / "data"
    put_picture(root / "coco/a.png")
    row = Sourced(
        question=Question(id="q", text="What?", images=(root / "coco/a.png",), source="s"),
        turns=(Exchange(question="What?", answer="a"),),
    )
    for beside in (tmp_path, tmp_path / "deep" / "er", root / "coco"):
        (question,) = posed(row, root, beside)
        beside.mkdir(parents=True, exist_ok=True)
        assert (beside / question.images[0]).is_file()
        assert question.meta["image"] == "coco/a.png"
    # A folder that is a link to another place: what `..` means there is decided by the place.
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er")
    (question,) = posed(row, root, tmp_path / "link")
    assert os.path.exists(tmp_path / "link" / question.images[0])


def test_a_row_with_several_pictures_is_set_aside_and_the_draw_stays_in_step(tmp_path: Path) -> None:
    folder = tmp_path / "llava_jsonl"
    put_picture(folder / "a.png")
    said = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    images = ["a.png", ["a.png", "a.png"], "a.png"]
    lines = [json.dumps({"image": image, "conversations": said}) for image in images]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    told: list[SetAside] = []
    found = survey(DataRecipe(sources={"llava_jsonl": 2}, root=tmp_path), on_fault=told.append)
    assert [row.question.id for row in drawn(found)] == ["llava_jsonl-rows-1", "llava_jsonl-rows-3"]
    assert [(fault.reason, fault.row) for fault in told] == [(Reason.SEVERAL_IMAGES, "llava_jsonl-rows-2")]


def test_the_composed_world_keeps_its_truth(tmp_path: Path) -> None:
    """So the served teacher knows the questions by the same file."""
    questions = read_jsonl(compose(tmp_path / "data", tmp_path / "questions.jsonl", "world"), Question)
    assert {"scene", "program", "staged_answer", "image"} <= set(questions[0].meta)
    assert all("wording" not in question.meta for question in questions)  # the world's words are ours
    assert any(question.choices for question in questions)
