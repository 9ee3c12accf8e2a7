"""Rounds of rejection sampling go on where they were stopped, and the gain is told pair by pair."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from tests.reproduce.forms import FormEngine

import stepsight
from stepsight.cli.app import run
from stepsight.data.ablations import Form
from stepsight.data.staged_rows import StagedRow, read_rows
from stepsight.errors import RecipeError
from stepsight.jsonl import read_jsonl
from stepsight.judges.likelihood import LikelihoodJudge
from stepsight.model_folders import read_card
from stepsight.pieces import Spent, run_pieces
from stepsight.recipes import load_recipe
from stepsight.records import Trace
from stepsight.rejection.loop import Places, Tools, improve_pieces
from stepsight.rejection.recipe import ImproveRecipe
from stepsight.rejection.results import ImproveResult, gather
from stepsight.reports.improve import improve_markdown
from stepsight.study.opening import Opened
from stepsight.training.recipe.train import TrainRecipe
from stepsight.world.split import load_questions

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "rejection"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")


def write(**changes: Any) -> Path:
    recipe = yaml.safe_load((RECIPES / "tiny.yaml").read_text())
    recipe |= {"rounds": 2, "questions": {"seed": 4200, "count": 12}, "out": "out"}
    recipe["select"] = {"by": "world", "most": 2}
    recipe["sets"][0]["count"] = 40
    path = Path("recipes/rejection/mine.yaml")
    path.write_text(yaml.safe_dump(recipe | changes), encoding="utf-8")
    return path


def tools(log: list[str]) -> Tools:
    """Each round makes the model better by a third of what is missing."""

    def train(path: Path, like: str) -> None:
        recipe = yaml.safe_load(path.read_text())
        log.append(f"train {path.stem} from {recipe['start']['folder']} like {like}")
        (Path(recipe["out"]) / "model").mkdir(parents=True)

    def open_model(name: str, reward: str) -> Opened:
        log.append(f"open {name}")
        number = 0 if name == "pico" else int(Path(name).parents[1].name.rpartition("-")[2])
        # The same doubt in every round, so that a better model loses nothing.
        engine = FormEngine(Form.STAGED, 1 - 0.6 * 0.5**number)
        return Opened(engine, lambda judge: LikelihoodJudge(), lambda: asyncio.sleep(0))

    return Tools(
        train, lambda folder: folder.is_dir(), open_model, lambda name: f"/models/{name}", Console(stderr=True)
    )


def whole_run(path: Path, log: list[str]) -> ImproveResult:
    recipe = load_recipe(path, ImproveRecipe)
    places = Places(path, recipe.out)
    pieces = improve_pieces(recipe, places, tools(log))
    run_pieces(pieces, lambda piece: piece.run(), log=recipe.out / "seconds.jsonl")
    return gather(recipe, places)


def test_rounds_search_keep_train_and_are_measured() -> None:
    log: list[str] = []
    result = whole_run(write(), log)
    out = Path("out")
    # 1. Fresh questions in every round, all of the training split, answered by the model of the round before.
    asked = [load_questions(out / f"round-{number}/questions/questions.jsonl") for number in (1, 2)]
    assert not {one.id for one in asked[0]} & {one.id for one in asked[1]}
    assert all(one.meta["split"] == "train" for questions in asked for one in questions)
    traces = [read_jsonl(out / f"round-{number}/search/traces.jsonl", Trace) for number in (1, 2)]
    assert [len(one) for one in traces] == [12, 12]
    assert {len(trace.candidates) for one in traces for trace in one} == {2}
    # 2. What is learned: the kept answers, and as many of the teacher's.
    for number in (1, 2):
        selected = read_jsonl(out / f"round-{number}/selected/train.jsonl", StagedRow)
        read = read_rows(out / f"round-{number}/rows/train.jsonl", out / f"round-{number}/rows")
        assert not read.faults
        assert list(read.rows[: len(selected)]) == selected
        assert len(read.rows) == 2 * len(selected)
        assert all((row.image or "").startswith("original/") for row in read.rows[len(selected) :])
        assert result.rounds[number - 1].rows == len(read.rows)
        assert result.rounds[number - 1].kept == len(selected)
        made = load_recipe(out / f"recipes/round-{number}.yaml", TrainRecipe)
        assert made.optimisation.seed == number
    # 3. Each round begins from the last.
    assert [line for line in log if line.startswith("train")] == [
        "train round-1 from /models/pico like pico",
        "train round-2 from out/round-1/train/model like pico",
    ]
    # 4. The gain, pair by pair.
    (one,) = result.sets
    before, *after = one.answered_by["greedy"]
    assert before.gain is None
    assert before.accuracy.value is not None
    for model in after:
        assert model.gain is not None
        assert model.accuracy.value is not None
        assert model.gain.value == pytest.approx(model.accuracy.value - before.accuracy.value)
        assert model.gain.only_second == 0
        assert model.gain.low is not None
        assert model.gain.low > 0
        assert sum(gain.n for gain in model.families.values()) == 40
    page = improve_markdown(result)
    assert "| greedy | after round 2 |" in page
    assert "| better |" in page
    assert f"| 1 | {result.rounds[0].kept} | {result.rounds[0].rows} |" in page
    assert ImproveResult.model_validate_json(result.model_dump_json()) == result
    # 5. A second start does nothing; a third round goes on from the second.
    again: list[str] = []
    assert whole_run(Path("recipes/rejection/mine.yaml"), again) == result
    assert again == []
    more = whole_run(write(rounds=3), again)
    assert again[0] == "open out/round-2/train/model"
    assert len(more.rounds) == 3
    assert more.rounds[:2] == result.rounds


def test_every_round_may_begin_from_the_start() -> None:
    log: list[str] = []
    whole_run(write(begin="start", original=None), log)
    assert [line for line in log if line.startswith("train")][1] == "train round-2 from /models/pico like pico"
    rows = read_jsonl(Path("out/round-1/rows/train.jsonl"), StagedRow)
    assert rows == read_jsonl(Path("out/round-1/selected/train.jsonl"), StagedRow)


def test_original_rows_may_come_from_a_dataset() -> None:
    log: list[str] = []
    whole_run(write(), log)
    shutil.move("out/round-1/original", "mine")
    shutil.rmtree("out")
    whole_run(write(original={"share": 0.25, "rows": "mine"}), log)
    rows = read_rows(Path("out/round-1/rows/train.jsonl"), Path("out/round-1/rows")).rows
    original = [row for row in rows if (row.image or "").startswith("original/")]
    assert len(original) == round((len(rows) - len(original)) / 3)
    assert {row.id for row in original} <= {row.id for row in read_jsonl(Path("mine/train.jsonl"), StagedRow)}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"questions": {"seed": 1}}, "give a file, or how many to draw"),
        ({"questions": {"file": "a.jsonl", "crowded": True}}, "crowded is for what is drawn"),
        ({"search": {"search": "vote", "width": [2, 4]}}, "one search writes"),
        ({"search": {"search": "votes"}}, "did you mean vote"),
        ({"select": {"by": "judge", "least": 0}}, "the search asks none"),
        ({"original": {"share": 0.5, "images": "a"}}, "images are those of rows"),
        ({"sets": [{"name": "a", "split": "train", "count": 1}]}, "split"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_runs(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        load_recipe(write(**changes), ImproveRecipe)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_recipes_check_out(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["improve", f"recipes/rejection/{path.name}", "--plan", "--set", "out=out"]) == 0
    lines = capsys.readouterr().out.splitlines()
    recipe = load_recipe(path, ImproveRecipe)
    assert len(lines) == 2 * (1 + 6 * recipe.rounds)
    assert lines[-1] == f"stepsight improve recipes/rejection/{path.name} --set out=out --piece answers-{recipe.rounds}"
    assert load_recipe(Path("out/recipes/round-1.yaml"), TrainRecipe).start.folder.endswith("pico")  # type: ignore[union-attr]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(stepsight.__file__).parent.parent), "TQDM_DISABLE": "1"}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_the_tiny_recipe_really_runs_through_a_kill() -> None:
    words = ["improve", "recipes/rejection/tiny.yaml"]
    out = Path("runs/rejection/tiny")
    parent = subprocess.Popen(
        [sys.executable, "-m", "stepsight", *words],
        env=environment(), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    traces = out / "round-1/search/traces.jsonl"
    with parent:
        limit = time.monotonic() + 900
        # Killed while answers are being written, or as soon as they are.
        while not traces.is_file() and time.monotonic() < limit:
            assert parent.poll() is None, "it came to its end too soon"
            time.sleep(0.02)
        parent.send_signal(signal.SIGKILL)
    written = {path: path.stat().st_mtime_ns for path in out.glob("answers-0/*/*.json")}
    assert written
    limit = time.monotonic() + 60
    while _children_of(out) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not _children_of(out)
    assert run([*words, "--here"]) == 0
    assert {path: path.stat().st_mtime_ns for path in written} == written
    result = ImproveResult.model_validate_json((out / "result.json").read_bytes())
    assert result.sets[0].answered_by["greedy"][1].gain is not None
    card = read_card(out / "round-1/train/model")
    assert (card.name, card.judge_prompts, card.reward, card.world_only) == ("pico-round-1", "short-2", "", True)
    steps = [json.loads(line)["step"] for line in (out / "round-1/train/log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 2]
    assert [one.piece for one in read_jsonl(out / "seconds.jsonl", Spent)].count("answers-0") == 1


def _children_of(out: Path) -> list[str]:
    """Processes of this run that are still there; they are known by where they run."""
    here, found = str(Path.cwd()), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(folder / "cwd") == here and b"improve" in (folder / "cmdline").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found
