"""Recipes: strict keys, every fault at once with its place, overrides, a resolved copy that loads to the same."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, model_validator

from stepsight.errors import RecipeError
from stepsight.recipes import Recipe, load_recipe, save_resolved


class Pace(StrEnum):
    SLOW = "slow"
    FAST = "fast"


class Training(Recipe):
    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: int = 8
    pace: Pace = Pace.SLOW


class RewardJudge(Recipe):
    kind: Literal["reward"]
    model: str
    precision: str = "full"


class VoteJudge(Recipe):
    kind: Literal["vote"]
    ballots: int = 3


class Source(Recipe):
    path: Path
    share: float = 1.0


class Run(Recipe):
    name: str
    training: Training = Training()
    judge: Annotated[RewardJudge | VoteJudge, Field(discriminator="kind")] = VoteJudge(kind="vote")
    sources: tuple[Source, ...] = ()
    weights: Mapping[str, float] = Field(default_factory=dict)
    note: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Run:
        if self.name == "forbidden":
            raise ValueError("choose another name")
        return self


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return tmp_path / "run.yaml"


def faults(path: Path, text: str, *overrides: str) -> list[str]:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, Run, overrides)
    head, *lines = str(caught.value).splitlines()
    assert head == f"{path}: {len(lines)} fault{'s' if len(lines) > 1 else ''}"
    return [line.removeprefix("  ") for line in lines]


def test_values_are_read_and_the_rest_are_defaults(recipe: Path) -> None:
    recipe.write_text(
        "name: first\ntraining: {learning_rate: 1e-4, pace: fast}\njudge: {kind: reward, model: m}\n"
        "sources:\n  - path: a.jsonl\n  - {path: b.jsonl, share: 2}\n"
    )
    run = load_recipe(recipe, Run)
    assert run == Run(
        name="first",
        training=Training(learning_rate=1e-4, pace=Pace.FAST),
        judge=RewardJudge(kind="reward", model="m"),
        sources=(Source(path=Path("a.jsonl")), Source(path=Path("b.jsonl"), share=2.0)),
    )


def test_all_faults_come_at_once_with_line_key_and_reason(recipe: Path) -> None:
    assert faults(
        recipe,
        "training:\n  learning_rte: 1\n  batch_size: 1\n  batch_size: [2]\n  pace: medium\nsources:\n  - share: 1\n",
        "training.x",
    ) == [
        "line 4: training.batch_size: is given twice",
        "override 'training.x': write it as key=value, such as training.batch_size=8",
        "name: is required",
        "line 4: training.batch_size: input should be a valid integer, got [2]",
        "line 5: training.pace: input should be 'slow' or 'fast', got 'medium'",
        "line 2: training.learning_rte: unknown key; did you mean training.learning_rate?",
        "line 7: sources.0.path: is required",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: a\ntrainig: {}", "line 2: trainig: unknown key; did you mean training?"),
        ("name: a\nbatch_size: 1", "line 2: batch_size: unknown key here; did you mean training.batch_size?"),
        (
            "name: a\njudge: {kind: vote, zzz: 1}",
            "line 2: judge.zzz: unknown key; known here: kind, ballots",
        ),
        (
            "name: a\njudge: {kind: reward, model: m, precison: 1}",
            "line 2: judge.precison: unknown key; did you mean judge.precision?",
        ),
        ("name: a\njudge: {kind: reward}", "line 2: judge.model: is required"),
        (
            "name: a\nsources: [{path: p}, {path: p, shares: 1}]",
            "line 2: sources.1.shares: unknown key; did you mean sources.1.share?",
        ),
        ("name: a\ntraining: 3", "line 2: training: input should be a valid dictionary or instance of Training, got 3"),
        ("name: forbidden", "choose another name"),
        ("name: a\nname: a", "line 2: name: is given twice"),
        (
            "name: a\ntraining: {learning_rate: .inf}",
            "line 2: training.learning_rate: input should be a finite number, got inf",
        ),
        ("name: a\nweights: {x: heavy}", None),
        ("", "name: is required"),
    ],
)
def test_a_fault_names_its_place_and_the_nearest_key(recipe: Path, text: str, fault: str | None) -> None:
    (found,) = faults(recipe, text)
    if fault is None:
        assert found.startswith("line 2: weights.x: input should be a valid number")
    else:
        assert found == fault


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("training.batch_size=16", "batch_size", 16),
        ("training.learning_rate=3e-4", "learning_rate", 3e-4),
        ("training.pace=fast", "pace", Pace.FAST),
        ("training={batch_size: 4}", "batch_size", 4),
    ],
)
def test_an_override_wins_over_the_file(recipe: Path, override: str, key: str, value: object) -> None:
    recipe.write_text("name: a\ntraining: {batch_size: 2}\n")
    assert getattr(load_recipe(recipe, Run, [override]).training, key) == value


def test_overrides_reach_into_lists_make_mappings_and_come_in_order(recipe: Path) -> None:
    recipe.write_text("sources: [{path: a}, {path: b}]\ntraining:\n")
    run = load_recipe(
        recipe, Run, ["sources.1.path=c=d", "name=x", "name=y", "note=null", "weights.deep=2", "training.batch_size=1"]
    )
    assert [str(source.path) for source in run.sources] == ["a", "c=d"]
    assert (run.name, run.note, run.weights, run.training.batch_size) == ("y", None, {"deep": 2.0}, 1)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("name", "write it as key=value"),
        ("=3", "write it as key=value"),
        ("a..b=3", "write it as key=value"),
        ("name.x=3", "name is a single value and has no 'x' inside"),
        ("sources.2.path=x", "sources is a list of 1; '2' is none of its places"),
        ("sources.first=x", "sources is a list of 1; 'first' is none of its places"),
        ("note=[1", "the value is not YAML"),
        ("training={pace: slow, pace: fast}", "the value gives a key twice"),
    ],
)
def test_an_override_that_does_not_fit_is_a_fault(recipe: Path, override: str, reason: str) -> None:
    (found,) = faults(recipe, "name: a\nsources: [{path: p}]\n", override)
    assert found.startswith(f"override {override!r}: ")
    assert reason in found


def test_a_fault_of_an_overridden_value_does_not_point_into_the_file(recipe: Path) -> None:
    (found,) = faults(recipe, "name: a\ntraining:\n  batch_size: 2\n", "training.batch_size=x")
    assert found.startswith("training.batch_size: ")
    assert "got 'x'" in found


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"name: [1\n", "line 2"),
        (b"- a\n", "the top level must be keys and values"),
        (b"name: \xff\n", "is not UTF-8 text"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_recipe_at_all(recipe: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        recipe.write_bytes(content)
    with pytest.raises(RecipeError, match=reason):
        load_recipe(recipe, Run)


runs = st.builds(
    Run,
    name=st.sampled_from(["1e-3", "yes", "on", "007", "a: b", "#", "é", " x "]),
    training=st.builds(
        Training,
        learning_rate=st.floats(min_value=1e-300, allow_nan=False, allow_infinity=False),
        batch_size=st.integers(),
        pace=st.sampled_from(Pace),
    ),
    judge=st.builds(RewardJudge, kind=st.just("reward"), model=st.text("ab\n'\":{", max_size=6))
    | st.builds(VoteJudge, kind=st.just("vote"), ballots=st.integers()),
    sources=st.lists(st.builds(Source, path=st.just(Path("a/b.jsonl")), share=st.floats(0, 1)), max_size=2).map(tuple),
    weights=st.dictionaries(st.sampled_from(["no", "1e5", "a.b", ""]), st.floats(-10, 10)),
    note=st.none() | st.sampled_from(["null", "", "2024-01-01", "line\nline"]),
)


@given(runs)
def test_the_resolved_copy_loads_to_the_same_recipe(tmp_path_factory: pytest.TempPathFactory, run: Run) -> None:
    path = tmp_path_factory.mktemp("run") / "recipe.yaml"
    save_resolved(run, path)
    assert load_recipe(path, Run) == run


def test_the_resolved_copy_holds_the_defaults(recipe: Path) -> None:
    save_resolved(Run(name="a"), recipe)
    assert "learning_rate: 0.001" in recipe.read_text()


def test_a_model_that_would_swallow_unknown_keys_is_refused(recipe: Path) -> None:
    class Loose(BaseModel):
        x: int = 1

    class Outer(Recipe):
        inner: list[Loose] | None = None

    recipe.write_text("")
    with pytest.raises(TypeError, match="Loose must forbid extra keys"):
        load_recipe(recipe, Outer)


def test_a_recipe_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(Run(name="a"), "name", "b")  # noqa: B010 - the type checker would refuse the plain assignment
