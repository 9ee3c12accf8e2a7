"""Drawing a recipe's rows: the same for the same seed, as many as asked for, shortfalls said first, no row held."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.data.fixtures.files import put_picture

from stepsight.data import composing
from stepsight.data.composing import check_complete, drawn, survey
from stepsight.data.recipe import DataRecipe
from stepsight.data.sources.source import Exchange, Found, Reason, SetAside, Sourced
from stepsight.errors import InputError, RecipeError
from stepsight.recipes import load_recipe
from stepsight.records import Question

RECIPE = Path(__file__).parents[2] / "recipes/data/llava-cot-100k.yaml"


def put_rows(root: Path, count: int, *, without: frozenset[int] = frozenset()) -> None:
    folder = root / "llava_jsonl"
    put_picture(folder / "a.png")
    with (folder / "rows.jsonl").open("w") as stream:
        for number in range(count):
            said = [{"from": "human", "value": f"Q{number}"}, {"from": "gpt", "value": "A"}]
            image = "gone.png" if number in without else "a.png"
            stream.write(json.dumps({"image": image, "conversations": said}) + "\n")


def recipe(root: Path, seed: int = 0, **sources: int) -> DataRecipe:
    return DataRecipe(sources=sources, root=root, seed=seed)


def texts(asked: DataRecipe) -> list[str]:
    return [row.question.text for row in drawn(survey(asked))]


def test_the_same_seed_draws_the_same_rows_in_the_order_of_the_file(tmp_path: Path) -> None:
    put_rows(tmp_path, 200)
    one = texts(recipe(tmp_path, llava_jsonl=20))
    assert len(set(one)) == 20
    assert one == texts(recipe(tmp_path, llava_jsonl=20))
    assert sorted(one, key=lambda text: int(text[1:])) == one
    assert set(one) != set(texts(recipe(tmp_path, seed=1, llava_jsonl=20)))
    assert set(one) < set(texts(recipe(tmp_path, llava_jsonl=30)))


def test_every_row_is_as_likely_as_another(tmp_path: Path) -> None:
    put_rows(tmp_path, 20)
    counts = dict.fromkeys((f"Q{number}" for number in range(20)), 0)
    for seed in range(60):
        for text in texts(recipe(tmp_path, seed=seed, llava_jsonl=10)):
            counts[text] += 1
    assert all(15 <= count <= 45 for count in counts.values())  # 30 each, give or take 4


def test_rows_set_aside_are_made_up_for_and_counted(tmp_path: Path) -> None:
    put_rows(tmp_path, 100)
    before = texts(recipe(tmp_path, llava_jsonl=20))
    lost = int(before[3][1:])
    put_rows(tmp_path, 100, without=frozenset({lost}))
    told: list[SetAside] = []
    found = survey(recipe(tmp_path, llava_jsonl=20), on_fault=told.append)
    after = [row.question.text for row in drawn(found)]
    assert len(after) == 20
    assert set(before) - set(after) == {f"Q{lost}"}
    assert found.shares[0].set_aside == {Reason.IMAGE_MISSING: 1}
    assert [fault.row for fault in told] == [lost + 1]


def test_a_shortfall_is_said_of_every_source_before_anything_is_drawn(tmp_path: Path) -> None:
    put_rows(tmp_path, 5, without=frozenset({1}))
    found = survey(recipe(tmp_path, llava_jsonl=7, world=2, docvqa=3))
    assert [(share.source.name, share.short) for share in found.short] == [("llava_jsonl", 3), ("docvqa", 3)]
    with pytest.raises(InputError, match="llava_jsonl: 4 sound rows for 7; set aside: 1 image-missing") as caught:
        check_complete(found)
    assert "docvqa: 0 sound rows for 3; set aside: 1 file" in str(caught.value)
    assert found.rows == len(list(drawn(found))) == 6
    check_complete(survey(recipe(tmp_path, llava_jsonl=4, world=2)))


@dataclass(frozen=True)
class Endless:
    """A source of as many rows as one likes, out of nothing."""

    count: int
    name: str = "endless"
    licence: str = ""
    homepage: str = ""
    layout: str = ""
    paper_count: int | None = None

    def find(self, root: Path) -> Found:
        return Found()

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        turns = (Exchange(question="Q", answer="A"),)
        for number in range(self.count):
            yield Sourced(question=Question(id=str(number), text="Q" * 200, source="endless"), turns=turns)


def test_memory_does_not_grow_with_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = []
    for count in (1_000, 6_000):
        monkeypatch.setattr(composing, "source_named", lambda name, c=count, **_: Endless(c))
        tracemalloc.start()
        assert sum(1 for _ in drawn(survey(recipe(tmp_path, world=50)))) == 50
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 20_000


def test_the_recipe_is_the_papers_composition() -> None:
    loaded = load_recipe(RECIPE, DataRecipe)
    from stepsight.data.sources.catalogue import catalogue

    assert loaded.sources == {name: one.paper_count for name, one in catalogue().items() if one.paper_count}
    assert sum(loaded.sources.values()) == 99_000


def test_a_recipe_names_known_sources_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("sources:\n  chartqa: 0\nroot: data\nsead: 1\n")
    with pytest.raises(RecipeError, match=r"(?s)chartqa.*sead.*seed"):
        load_recipe(path, DataRecipe)
    path.write_text("sources:\n  chartaq: 5\nroot: data\n")
    with pytest.raises(RecipeError, match="there is no source 'chartaq'"):
        load_recipe(path, DataRecipe)


def test_the_world_is_drawn_under_the_recipes_seed(tmp_path: Path) -> None:
    one = {row.question.id for row in drawn(survey(recipe(tmp_path, seed=3, world=2)))}
    assert one == {"tabletop-train-3-0", "tabletop-train-3-1"}
    assert replace(survey(recipe(tmp_path, world=2)).shares[0], wanted=5).short == 3
