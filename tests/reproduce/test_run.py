"""A comparison runs in pieces, none of them twice, and says by rule where the paper's pattern repeats."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.reproduce.forms import fake_tools

import stepsight
from stepsight.cli.app import run
from stepsight.data.ablations import Form, in_form
from stepsight.data.staged_rows import StagedRow, read_rows
from stepsight.errors import InputError, RecipeError
from stepsight.evaluation.statistics import Span
from stepsight.jsonl import read_jsonl
from stepsight.pieces import Piece, Spent, run_pieces
from stepsight.recipes import load_recipe
from stepsight.reports.reproduce import BEGIN, END, in_page, reproduce_markdown
from stepsight.reproduce.figures import ALL, MULTI, ReproduceResult, Told
from stepsight.reproduce.paragraphs import ALL_FOUR
from stepsight.reproduce.plots import plot_arms
from stepsight.reproduce.recipe import ReproduceRecipe
from stepsight.reproduce.results import gather
from stepsight.reproduce.run import pieces_of
from stepsight.reproduce.training import Places
from stepsight.training.recipe.data import StagedRows
from stepsight.training.recipe.train import TrainRecipe
from stepsight.world.checker import check
from stepsight.world.questions import MULTI_STEP
from stepsight.world.split import load_questions

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "reproduce"
SKILLS = {"direct": 0.2, "no-tags": 0.5, "apart": 0.5, "shuffled": 0.5, "llava-cot": 0.9}
SEARCHES = {
    "questions": "multi-step",
    "count": 6,
    "searches": [{"search": "greedy"}, {"search": "best-of-n", "width": 4, "judge": ["likelihood", "oracle"]}],
    "claims": [{"above": "best-of-n-4-oracle", "below": "greedy"}],
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes name what they make as seen from where they are run."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")


def write(name: str = "mine", **changes: Any) -> Path:
    """The tiny recipe, changed."""
    recipe = yaml.safe_load((RECIPES / "tiny.yaml").read_text())
    recipe |= {"max_tokens": 500, "seeds": [0, 1], "searches": SEARCHES, "out": "out"}
    recipe["sets"][0]["count"], recipe["sets"][1]["count"] = 24, 30
    path = Path("recipes/reproduce") / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe | changes), encoding="utf-8")
    return path


def whole_run(path: Path, log: list[str]) -> ReproduceResult:
    recipe = load_recipe(path, ReproduceRecipe)
    places = Places(path, recipe.out)
    pieces = pieces_of(recipe, places, fake_tools(SKILLS, log))
    run_pieces(pieces, lambda piece: piece.run(), log=recipe.out / "seconds.jsonl")
    return gather(recipe, places)


def test_all_arms_are_trained_alike_and_asked_in_their_own_form() -> None:
    log: list[str] = []
    result = whole_run(write(), log)
    recipe = load_recipe(Path("recipes/reproduce/mine.yaml"), ReproduceRecipe)
    # 1. Every arm has the same questions and pictures, and the same steps.
    drawn = read_jsonl(Path("out/rows/drawn/train.jsonl"), StagedRow)
    for arm in recipe.arms:
        for seed in (0, 1):
            made = load_recipe(Path(f"out/recipes/{arm.called}-{seed}.yaml"), TrainRecipe)
            assert isinstance(made.data, StagedRows)
            assert list(read_rows(made.data.rows, made.data.images).rows) == [
                one for row in drawn for one in in_form(row, arm.form)
            ]
            assert (made.data.seed, made.optimisation.seed, made.optimisation.steps) == (seed, seed, 4)
            assert made.optimisation.batch == (8 if arm.form is Form.APART else 2)
            assert made.start.folder == "runs/reproduce/tiny/start/model"  # type: ignore[union-attr]
    # 2. What was measured is what the models can do.
    (test, multi) = result.sets
    assert (test.name, multi.name) == ("test", "multi-step")
    for one in (test, multi):
        group = one.group(ALL)
        assert group is not None
        for found in group.arms:
            assert found.accuracy.value == pytest.approx(sum(found.by_seed) / 2)
            assert abs(sum(found.by_seed) / 2 - SKILLS[found.name]) < 0.2
            assert one.unreadable[found.name].value == 0
    (first,) = [group for group in multi.groups if group.name == ALL]
    assert {(told.above, told.below): told.repeats for told in first.told}["llava-cot", "direct"] == "repeats"
    # 3. Stages are held against the world where a form has them.
    captions = {arm.name: arm.captions for arm in first.arms}
    assert captions["direct"] is None
    assert all(span is not None and span.value == 1.0 for name, span in captions.items() if name != "direct")
    # Answers are parted by the form that they keep or not, and by what they rest on, where there is such a thing.
    for one in (test, multi):
        group = one.group(ALL)
        assert group is not None
        assert set(one.forms) == {"no-tags", "shuffled"}
        assert set(one.grounds) == {"no-tags", "apart", "llava-cot"}
        assert len(one.forms["shuffled"]) > 1
        assert [part.kind for part in one.forms["no-tags"]] == [ALL_FOUR]
        for answering in group.arms:
            for parts in (one.forms.get(answering.name), one.grounds.get(answering.name)):
                if parts is not None:
                    assert sum(part.accuracy.n for part in parts) == 2 * group.questions
                    shares = [(part.accuracy.value or 0.0) * (part.share.value or 0.0) for part in parts]
                    assert answering.accuracy.value == pytest.approx(sum(shares))
    # 4. Searches ran with the model of each seed; the oracle finds what is there.
    assert result.searches is not None
    assert [arm.name for arm in result.searches.study.arms] == [
        "greedy", "best-of-n-4-likelihood", "best-of-n-4-oracle"
    ]  # fmt: skip
    assert result.searches.study.questions == 6
    assert result.searches.told[0].paper == 0.6
    for searched in result.searches.study.arms:
        # What answers rest on leaves none out, and their accuracy as a whole is what it was.
        rests = result.searches.grounds[searched.name]
        assert sum(part.accuracy.n for part in rests) == 2 * result.searches.study.questions
        shares = [(part.accuracy.value or 0.0) * (part.share.value or 0.0) for part in rests]
        assert searched.accuracy.value == pytest.approx(sum(shares))
    assert log.count("train 1-start") == 1
    assert len(log) == 1 + 10 + 2 * 10 + 2 * 2
    # 5. A second start does nothing.
    again: list[str] = []
    assert whole_run(Path("recipes/reproduce/mine.yaml"), again) == result
    assert again == []


def test_multi_step_questions_are_of_the_families_that_take_several_steps() -> None:
    whole_run(write(searches=None, arms=[{"form": "direct"}], seeds=[0]), [])
    asked = load_questions(Path("out/questions/multi-step/questions.jsonl"))
    assert len(asked) == 30
    assert {question.meta["family"] for question in asked} == set(MULTI_STEP)
    assert all(check(question, {}).caption is None for question in asked)
    all_asked = load_questions(Path("out/questions/test/questions.jsonl"))
    assert {question.meta["family"] for question in all_asked} - set(MULTI_STEP)


def test_a_run_that_stops_anywhere_goes_on_and_repeats_nothing() -> None:
    path = write()
    log: list[str] = []
    recipe = load_recipe(path, ReproduceRecipe)
    pieces = pieces_of(recipe, Places(path, recipe.out), fake_tools(SKILLS, log))
    names = [piece.name for piece in pieces]
    assert names == [
        "rows", "rows-direct", "rows-no-tags", "rows-apart", "rows-shuffled", "questions-test", "questions-multi-step",
        "start-1-start",
        *(f"{what}-{arm.called}-{seed}" for seed in (0, 1) for arm in recipe.arms for what in ("train", "answers")),
        "search-0", "search-1",
    ]  # fmt: skip

    class Killed(Exception):
        pass

    def until(name: str) -> Any:
        def launch(piece: Piece) -> None:
            if piece.name == name:
                raise Killed
            piece.run()

        return launch

    for name in ("rows-apart", "train-no-tags-0", "answers-llava-cot-1", "search-1"):
        with pytest.raises(Killed):
            run_pieces(pieces, until(name), log=recipe.out / "seconds.jsonl")
    assert run_pieces(pieces, lambda piece: piece.run(), log=recipe.out / "seconds.jsonl") == 1
    trained = [line for line in log if line.startswith("train")]
    assert len(trained) == len(set(trained)) == 11
    assert [one.piece for one in read_jsonl(recipe.out / "seconds.jsonl", Spent)] == names


def test_a_piece_that_leaves_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing left nothing behind"):
        run_pieces([Piece("nothing", lambda: False, lambda: None)], lambda piece: piece.run(), log=tmp_path / "log")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"arms": [{"form": "direct"}, {"form": "direct"}]}, "arms are given twice: direct"),
        ({"arms": [{"form": "drect"}]}, "direct"),
        ({"beside": "hard"}, "there is no set 'hard'; sets: test, multi-step"),
        ({"arms": [{"form": "direct"}]}, "the arm 'llava-cot', which is not there"),
        ({"searches": SEARCHES | {"arm": "direct"}}, "the arm 'direct' is direct"),
        ({"searches": SEARCHES | {"claims": [{"above": "vote", "below": "greedy"}]}}, "arms that are not there: vote"),
        ({"seeds": [0, 0]}, "a seed is given twice"),
        ({"sets": [{"name": "a", "split": "test"}]}, "a split has no end"),
        ({"sets": [{"name": "a"}]}, "either a file or a split"),
        ({"images": "somewhere"}, "what is drawn has its own"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_runs(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        load_recipe(write(**changes), ReproduceRecipe)


def test_a_recipe_that_trains_on_no_rows_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reproduce", str(write(train="tiny/1-start.yaml"))]) == 2
    assert "1-start.yaml does not fine-tune on rows" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_recipes_check_out_down_to_every_arm(path: Path) -> None:
    _stand_in()
    recipe = load_recipe(path, ReproduceRecipe)
    assert {arm.form for arm in recipe.arms} == set(Form)
    places = Places(Path("recipes/reproduce") / path.name, Path("out"))
    pieces_of(recipe, places, fake_tools(SKILLS, []))
    made = {name.stem: load_recipe(name, TrainRecipe) for name in Path("out/recipes").glob("*.yaml")}
    assert len(made) == len(recipe.arms) * len(recipe.seeds)
    steps = {(one.optimisation.steps, one.optimisation.epochs) for one in made.values()}
    assert len(steps) == 1
    batches = {one.optimisation.batch for name, one in made.items() if not name.startswith("apart")}
    assert {one.optimisation.batch for name, one in made.items() if name.startswith("apart")} == {4 * batches.pop()}
    assert not batches


def _stand_in() -> None:
    """The recipe that the one for GPUs begins with, where it is not there."""
    path = Path("recipes/sft/llama-3.2-11b-vision.yaml")
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        recipe = yaml.safe_load((RECIPES / "tiny/2-arm.yaml").read_text())
        recipe["start"] = {"folder": "meta-llama/Llama-3.2-11B-Vision-Instruct"}
        recipe["optimisation"] |= {"batch": 32}
        path.write_text(yaml.safe_dump(recipe))


def test_the_plan_for_other_machines_is_printed_and_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _stand_in()
    assert run(["reproduce", "--scale", "11b", "--set", "out=gpus"]) == 0
    said, told = capsys.readouterr()
    assert "10 recipes of training check out: gpus/recipes/*.yaml" in told
    lines = [line for line in said.splitlines() if not line.startswith("#")]
    assert lines[0] == (
        "stepsight data ablate data/llava-cot-100k/train.jsonl --form direct --out gpus/rows/direct.jsonl "
        "--images data/llava-cot-100k"
    )
    assert "torchrun --nproc-per-node 8 -m stepsight train gpus/recipes/apart-1.yaml" in lines
    assert "stepsight reproduce recipes/reproduce/11b.yaml --set out=gpus --piece answers-no-tags-0" in lines
    assert lines.index("torchrun --nproc-per-node 8 -m stepsight train gpus/recipes/llava-cot-0.yaml") < (
        lines.index("stepsight reproduce recipes/reproduce/11b.yaml --set out=gpus --piece answers-llava-cot-0")
    )
    assert lines[-1].endswith("--piece search-1")
    assert len(lines) == said.count("# ") == 4 + 2 * 10 + 2
    assert not Path("gpus/rows").exists()


def test_a_folder_belongs_to_one_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    path = write()
    assert run(["reproduce", str(path), "--plan"]) == 0
    assert run(["reproduce", str(path), "--plan", "--set", "seeds=[0]"]) == 2
    assert "out belongs to a run with other seeds" in capsys.readouterr().err
    assert run(["reproduce", str(path), "--plan", "--set", "concurrency=3"]) == 0


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "name either a recipe or a scale"),
        (["recipes/reproduce/tiny.yaml", "--scale", "pico"], "name either a recipe or a scale"),
        (["--scale", "70b"], "scales here: 11b, pico, tiny"),
        (["--scale", "tiny", "--piece", "tea"], "there is no piece 'tea'"),
        (["--scale", "tiny", "--page", "nowhere.md"], "there is no page nowhere.md"),
    ],
)
def test_what_the_command_cannot_do_is_said(words: list[str], fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reproduce", *words]) == 2
    assert fault in capsys.readouterr().err


def span(value: float, low: float, high: float) -> Span:
    return Span(value=value, low=low, high=high, n=100)


@pytest.mark.parametrize(
    ("difference", "by_seed", "paper", "verdict", "repeats"),
    [
        (span(0.1, 0.05, 0.15), (0.1, 0.2), 1.9, "above", "repeats"),
        (span(0.1, 0.05, 0.15), (0.1, 0.2), -1.9, "above", "does not repeat: it is the other way round"),
        (span(-0.1, -0.15, -0.05), (-0.1, -0.2), 1.9, "below", "does not repeat: it is the other way round"),
        (span(-0.1, -0.15, -0.05), (-0.1, -0.2), -1.9, "below", "repeats"),
        (
            span(0.1, 0.05, 0.15), (0.3, -0.1), 1.9,
            "above, but not for every seed", "not shown either way (above, but not for every seed)",
        ),
        (
            span(-0.1, -0.15, -0.05), (-0.3, 0.1), 1.9,
            "below, but not for every seed", "not shown either way (below, but not for every seed)",
        ),
        (span(0.01, -0.02, 0.04), (0.01,), 1.9, "not told apart", "not shown either way (not told apart)"),
        (span(0.1, 0.05, 0.15), (0.1,), None, "above", "the paper does not compare them"),
        (
            Span(value=None, low=None, high=None, n=0), (), 1.0,
            "nothing to tell it by", "not shown either way (nothing to tell it by)",
        ),
    ],
)  # fmt: skip
def test_a_pattern_is_told_by_the_interval_and_by_every_seed(
    difference: Span, by_seed: tuple[float, ...], paper: float | None, verdict: str, repeats: str
) -> None:
    told = Told(above="a", below="b", difference=difference, by_seed=by_seed, paper=paper)
    assert (told.verdict, told.repeats) == (verdict, repeats)


def test_the_page_keeps_its_words_and_gets_the_figures(tmp_path: Path) -> None:
    result = whole_run(write(), [])
    figures = reproduce_markdown(result, plot="images/reproduce.svg", command="stepsight reproduce --scale pico")
    page = in_page(f"# Title\n\n{BEGIN}\nstale figures\n{END}\n\nThe end.\n", figures)
    assert "stale figures" not in page
    assert page.startswith(f"# Title\n\n{BEGIN}\nMade by `stepsight reproduce --scale pico`. Seeds of training: 0, 1.")
    assert page.endswith(f"{END}\n\nThe end.\n")
    assert in_page(page, figures) == page
    assert "- **llava-cot above direct**: repeats. Ours +" in figures
    assert "| direct | " in figures
    assert "59.0 (Table 2)" in figures
    assert "57.7 (Table 7)" in figures
    assert "![Accuracy of every arm, 95 % intervals](images/reproduce.svg)" in figures
    assert "| apart | 4 x 8 | 1.0 | 0.500 |" in figures
    assert "| family (questions) | direct | no-tags |" in figures
    assert "### Search" in figures
    heads = [line for line in figures.splitlines() if line.startswith("| arm |")]
    # The set of multi-step families has no other questions, so it needs no column of its own.
    assert ["multi-step" in head for head in heads] == [False, True]
    for tabular, lines in groupby(figures.splitlines(), key=lambda line: line.startswith("|")):
        # Every row of a table has as many cells as its head.
        assert not tabular or len({line.count("|") for line in lines}) == 1
    with pytest.raises(InputError, match="no place for figures"):
        in_page("# Title\n", figures)
    assert plot_arms(result, tmp_path / "images" / "a.svg").read_bytes().startswith(b"<?xml")
    assert ReproduceResult.model_validate_json(result.model_dump_json()) == result


def test_the_page_of_the_docs_has_a_place_for_figures() -> None:
    page = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
    assert in_page(page, "new\n").count("new\n") == 1


def test_the_tiny_recipe_really_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Real training, real models, in this process; and a page is written."""
    page = Path("docs/reproduce.md")
    page.parent.mkdir()
    page.write_text(f"# Words\n\n{BEGIN}\n{END}\n")
    assert run(["reproduce", "--scale", "tiny", "--here", "--page", str(page)]) == 0
    out = Path("runs/reproduce/tiny")
    result = ReproduceResult.model_validate_json((out / "result.json").read_bytes())
    assert [arm.name for arm in result.training] == ["direct", "no-tags", "apart", "shuffled", "llava-cot"]
    assert all(arm.steps == 4 and arm.loss is not None and arm.seconds is not None for arm in result.training)
    for one in result.sets:
        group = one.group(ALL)
        assert group is not None
        # Nothing was learned, so answers never end: that is said, and not only counted as wrong.
        assert all(one.unreadable[arm.name].value == 1.0 and arm.tokens == 24 for arm in group.arms)
    assert result.sets[1].group(MULTI) is not None
    assert "### Ways to train" in page.read_text()
    assert (page.parent / "images/reproduce.svg").is_file()
    assert (out / "page.md").read_text() in capsys.readouterr().out
    losses = {
        name: json.loads((out / "train" / f"{name}-0" / "log.jsonl").read_text().splitlines()[0])["loss"]
        for name in ("direct", "no-tags", "apart", "shuffled", "llava-cot")
    }
    assert len(set(losses.values())) == 5, "two forms taught the same"


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(stepsight.__file__).parent.parent), "TQDM_DISABLE": "1"}


def ended(pid: int, within: float) -> bool:
    limit = time.monotonic() + within
    while time.monotonic() < limit:
        try:
            # A process that has ended and that nobody has asked for yet is one no more.
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_killed_run_takes_its_piece_along_and_goes_on() -> None:
    arms = "arms=[{form: direct, changes: [optimisation.steps=60]}]"
    words = ["reproduce", "recipes/reproduce/tiny.yaml", "--set", arms, "--set", "searches=null"]
    out = Path("runs/reproduce/tiny")
    folder = out / "train/direct-0"
    parent = subprocess.Popen(
        [sys.executable, "-m", "stepsight", *words],
        env=environment(),
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    with parent:
        limit = time.monotonic() + 900
        while not (folder / "checkpoint-4/trainer_state.json").is_file() and time.monotonic() < limit:
            assert parent.poll() is None, "it came to its end too soon"
            time.sleep(0.02)
        (child,) = map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())
        parent.send_signal(signal.SIGKILL)
    assert ended(child, within=60)
    assert not (folder / "model").exists()
    before = {path: path.stat().st_mtime_ns for path in (*out.glob("rows/*.jsonl"), out / "start/model/config.json")}
    assert len(before) == 2
    assert run([*words, "--here"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    steps = [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert steps == [*range(1, 61), 60]
    spent = [one.piece for one in read_jsonl(out / "seconds.jsonl", Spent)]
    assert spent == [
        "rows", "rows-direct", "questions-test", "questions-multi-step", "start-1-start",
        "train-direct-0", "answers-direct-0",
    ]  # fmt: skip


def test_a_piece_that_fails_says_so_and_stops_the_run(capfd: pytest.CaptureFixture[str]) -> None:
    path = write(rows="nowhere", images=None)
    done = subprocess.run(
        [sys.executable, "-m", "stepsight", "reproduce", str(path)],
        env=environment(), capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "there is no file nowhere/train.jsonl" in done.stderr
    assert "rows-direct did not come to its end" in done.stderr
    assert "rows-no-tags" not in done.stderr
