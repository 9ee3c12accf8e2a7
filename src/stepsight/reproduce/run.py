"""A comparison as pieces: rows, questions, beginnings; training and answers of each arm and seed; searches."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from stepsight.data.ablations import Form, write_form
from stepsight.data.staged_rows import dataset_files
from stepsight.data.world_rows import draw_rows
from stepsight.evaluation import evaluate
from stepsight.evaluation.sets import QUESTIONS, QuestionSet, questions_of
from stepsight.files import whole_file
from stepsight.pieces import Piece
from stepsight.protocols import SearchSettings
from stepsight.records import Question
from stepsight.reports.progress import counting
from stepsight.reproduce.answering import ASKED
from stepsight.reproduce.reading import reader
from stepsight.reproduce.recipe import DrawnRows, ReproduceRecipe, Searches, TrainedArm
from stepsight.reproduce.training import Places, run_name, staged_rows, start_recipes, write_train_recipes
from stepsight.study.opening import REPORTS, Open, opened, study_alone, truth_of
from stepsight.study.recipe import StudyRecipe
from stepsight.tracefiles import TRACES

REPORT = "report.json"


@dataclass(frozen=True)
class Tools:
    """What a run is given: `train` runs a recipe, `open` loads a model, and a console shows how far it is."""

    train: Callable[[Path], object]
    open: Open
    console: Console


def pieces_of(recipe: ReproduceRecipe, places: Places, tools: Tools) -> list[Piece]:
    """All pieces, in an order in which each finds what it needs.

    Raises:
        RecipeError: a recipe of training does not check out, or does not train on rows.
    """
    made = write_train_recipes(recipe, places)
    pieces = [*_rows(recipe, places, tools), *_questions(recipe, places, tools)]
    for path, start in start_recipes(recipe, places):
        pieces.append(_training(f"start-{path.stem}", path, start.out, recipe.launch, tools))
    for (arm, seed), (name, trained) in zip(recipe.runs(), made, strict=True):
        pieces.append(_training(f"train-{name}", places.train_recipe(name), trained.out, recipe.launch, tools))
        pieces.append(_answers(recipe, places, tools, arm, seed))
    if recipe.searches:
        pieces += [_searches(recipe, recipe.searches, places, tools, seed) for seed in recipe.seeds]
    return pieces


def _rows(recipe: ReproduceRecipe, places: Places, tools: Tools) -> Iterator[Piece]:
    rows, images = staged_rows(recipe, places)
    drawn = recipe.rows
    if isinstance(drawn, DrawnRows):

        def draw() -> None:
            with counting(tools.console, "drawing", drawn.count) as tell:
                draw_rows(images, seed=drawn.seed, count=drawn.count, progress=tell)

        yield Piece("rows", rows.is_file, draw)
    for form in dict.fromkeys(arm.form for arm in recipe.arms if arm.form is not Form.STAGED):
        out = places.rows(form, rows)

        def write(form: Form = form, out: Path = out) -> None:
            found, folder = dataset_files(rows, images)
            write_form(found, folder, out, form)

        words = [
            "stepsight",
            "data",
            "ablate",
            str(rows),
            "--form",
            form.value,
            "--out",
            str(out),
            "--images",
            str(images),
        ]
        yield Piece(f"rows-{form.value}", out.is_file, write, shlex.join(words))


def _questions(recipe: ReproduceRecipe, places: Places, tools: Tools) -> Iterator[Piece]:
    for wanted in recipe.sets:
        if wanted.file is None:
            folder = places.questions(wanted.name)
            run = partial(questions_of, wanted, folder)
            yield Piece(f"questions-{wanted.name}", (folder / QUESTIONS).is_file, _nothing(run))


def _nothing(work: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        work()

    return run


def _training(name: str, path: Path, out: Path, launch: str, tools: Tools) -> Piece:
    command = f"{launch or 'stepsight'} train {shlex.quote(str(path))}"
    return Piece(name, (out / "model" / "config.json").is_file, _nothing(partial(tools.train, path)), command)


def _answers(recipe: ReproduceRecipe, places: Places, tools: Tools, arm: TrainedArm, seed: int) -> Piece:
    run = run_name(arm, seed)

    def done() -> bool:
        return all((places.answers(run, one.name) / REPORT).is_file() for one in recipe.sets)

    def answer() -> None:
        with opened(tools.open, str(places.model(run))) as (model, loop):
            for wanted in recipe.sets:
                out = places.answers(run, wanted.name)
                questions = questions_of(wanted, places.questions(wanted.name))
                with counting(tools.console, f"answering {wanted.name}", len(questions)) as tell:
                    report = loop.run(
                        evaluate(
                            questions,
                            model.engine,
                            None,
                            ASKED[arm.form],
                            SearchSettings(max_tokens=recipe.max_tokens),
                            concurrency=recipe.concurrency,
                            truth=truth_of(questions),
                            read=reader(arm.form),
                            out=out / TRACES,
                            progress=lambda now, tell=tell: tell(now.done),  # type: ignore[misc]  # bound as it is now
                        )
                    )
                with whole_file(out / REPORT) as stream:
                    stream.write(report.to_json().encode() + b"\n")

    return Piece(f"answers-{run}", done, answer)


def _searches(recipe: ReproduceRecipe, wanted: Searches, places: Places, tools: Tools, seed: int) -> Piece:
    out = places.searched(seed)
    arm = next(one for one in recipe.arms if one.called == wanted.arm)

    def search() -> None:
        questions = searched_questions(recipe, wanted, places)
        arms = wanted.all_searches()
        study = StudyRecipe(
            questions=Path(wanted.questions),
            seeds=[seed],
            arms=wanted.searches,
            concurrency=recipe.concurrency,
            out=out,
        )
        with (
            opened(tools.open, str(places.model(run_name(arm, seed))), wanted.reward) as (model, loop),
            counting(tools.console, "searching", len(arms) * len(questions)) as tell,
        ):
            study_alone(loop, model, study, questions, tell=tell, read=reader(Form.STAGED))

    return Piece(f"search-{seed}", (out / REPORTS).is_file, search)


def searched_questions(recipe: ReproduceRecipe, wanted: Searches, places: Places) -> list[Question]:
    """The questions that searches are compared on."""
    chosen: QuestionSet = recipe.set_called(wanted.questions)
    return questions_of(chosen, places.questions(chosen.name))[: wanted.count]
