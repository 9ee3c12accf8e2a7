"""Rejection-sampled fine-tuning as pieces: in each round questions, a search, what is kept, training; then answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from rich.console import Console

from stepsight.data.dataset import place_picture
from stepsight.data.manifest import MANIFEST
from stepsight.data.staged_rows import TRAIN, StagedRow, dataset_files, read_rows
from stepsight.data.world_rows import draw_rows
from stepsight.errors import InputError
from stepsight.evaluation import Progress, evaluate
from stepsight.evaluation.sets import QUESTIONS, questions_of
from stepsight.jsonl import read_jsonl, write_jsonl
from stepsight.pictures import check_picture
from stepsight.pieces import Piece
from stepsight.recipes import save_resolved
from stepsight.records import Question
from stepsight.rejection.recipe import ImproveRecipe, Original
from stepsight.rejection.selecting import check_learnable, select
from stepsight.rejection.writing import write_selected
from stepsight.reports.progress import counting
from stepsight.search import strategy
from stepsight.study.opening import REPORTS, Open, opened, study_alone
from stepsight.study.recipe import StudyRecipe
from stepsight.tracefiles import TRACES, read_traces
from stepsight.training.recipe.filled import filled_recipe
from stepsight.training.recipe.train import TrainRecipe
from stepsight.world.split import load_questions, save_split


@dataclass(frozen=True)
class Tools:
    """What a run is given: `train` runs a recipe and gives the folder of the model a card like that of the model it
    began from, `trained` tells whether that is done; `open` loads a model; `folder` is where training begins from for a
    model's name; a console shows how far it is."""

    train: Callable[[Path, str], object]
    trained: Callable[[Path], bool]
    open: Open
    folder: Callable[[str], str]
    console: Console


@dataclass(frozen=True)
class Places:
    """Where everything of a run lies. `recipe` is the file that the path of the recipe of training starts from."""

    recipe: Path
    out: Path

    def asked(self, number: int) -> Path:
        """The questions of a round, and their pictures."""
        return self.out / f"round-{number}" / "questions"

    def traces(self, number: int) -> Path:
        """What was written to them."""
        return self.out / f"round-{number}" / "search" / TRACES

    def selected(self, number: int) -> Path:
        """The folder of what is kept."""
        return self.out / f"round-{number}" / "selected"

    def rows(self, number: int) -> Path:
        """The folder of the rows that are learned from."""
        return self.out / f"round-{number}" / "rows"

    def train_recipe(self, number: int) -> Path:
        """The recipe of training, filled in."""
        return self.out / "recipes" / f"round-{number}.yaml"

    def trained(self, number: int) -> Path:
        """The folder of training."""
        return self.out / f"round-{number}" / "train"

    def answers(self, number: int, set_name: str) -> Path:
        """What the model of a round (0: that of the start) answered to a set."""
        return self.out / f"answers-{number}" / set_name

    def questions(self, set_name: str) -> Path:
        """Questions of a set that are drawn, and their pictures."""
        return self.out / "sets" / set_name

    def model(self, recipe: ImproveRecipe, number: int) -> str:
        """The model of a round; 0 is that of the start."""
        return str(self.trained(number) / "model") if number else recipe.model


def improve_pieces(recipe: ImproveRecipe, places: Places, tools: Tools) -> list[Piece]:
    """All pieces, in an order in which each finds what it needs.

    Raises:
        RecipeError: the recipe of training does not check out, or does not fine-tune on rows.
    """
    made = [train_recipe(recipe, places, tools, number) for number in range(1, recipe.rounds + 1)]
    for number, one in enumerate(made, start=1):
        save_resolved(one, places.train_recipe(number))
    pieces = [_answers(recipe, places, tools, 0)]
    for number in range(1, recipe.rounds + 1):
        pieces += [*_round(recipe, places, tools, number), _answers(recipe, places, tools, number)]
    return pieces


def train_recipe(recipe: ImproveRecipe, places: Places, tools: Tools, number: int) -> TrainRecipe:
    """The recipe by which the model of a round is trained.

    Raises:
        RecipeError: it does not check out with what is filled in, or does not fine-tune on rows.
    """
    begin = places.model(recipe, number - 1 if recipe.begin == "last" else 0)
    return filled_recipe(
        places.recipe.parent / recipe.train,
        rows=places.rows(number) / TRAIN,
        images=places.rows(number),
        seed=recipe.seed + number,
        out=places.trained(number),
        start=tools.folder(begin) if begin == recipe.model else begin,
    )


def _round(recipe: ImproveRecipe, places: Places, tools: Tools, number: int) -> Iterator[Piece]:
    if recipe.questions.file is None:
        yield Piece(
            f"questions-{number}",
            (places.asked(number) / QUESTIONS).is_file,
            partial(_draw, recipe, places, tools, number),
        )
    done = places.traces(number).with_name("done")
    yield Piece(f"search-{number}", done.is_file, partial(_search, recipe, places, tools, number, done))
    manifest = places.selected(number) / MANIFEST
    yield Piece(f"select-{number}", manifest.is_file, partial(_select, recipe, places, number))
    yield Piece(f"rows-{number}", (places.rows(number) / TRAIN).is_file, partial(_mix, recipe, places, number))

    def train() -> None:
        tools.train(places.train_recipe(number), places.model(recipe, 0))

    yield Piece(f"train-{number}", partial(tools.trained, places.trained(number) / "model"), train)


def _draw(recipe: ImproveRecipe, places: Places, tools: Tools, number: int) -> None:
    asked = recipe.questions
    assert asked.count is not None
    with counting(tools.console, "drawing", asked.count) as tell:
        # A seed for each round: what a model has learned by heart would be confirmed without being known.
        save_split(
            "train",
            seed=asked.seed + number,
            count=asked.count,
            out=places.asked(number),
            crowded=asked.crowded,
            progress=tell,
        )


def _asked(recipe: ImproveRecipe, places: Places, number: int) -> list[Question]:
    questions = load_questions(recipe.questions.file or places.asked(number) / QUESTIONS)[: recipe.questions.count]
    for question in questions:
        check_learnable(question)
    for picture in dict.fromkeys(image for question in questions for image in question.images):
        check_picture(picture)
    return questions


def _search(recipe: ImproveRecipe, places: Places, tools: Tools, number: int, done: Path) -> None:
    questions, arm = _asked(recipe, places, number), recipe.writes
    with (
        opened(tools.open, places.model(recipe, number - 1), recipe.reward) as (model, loop),
        counting(tools.console, "answering", len(questions)) as tell,
    ):

        def progress(now: Progress) -> None:
            tell(now.done)

        loop.run(
            evaluate(
                questions,
                model.engine,
                model.judge_of(arm),
                strategy(arm.search),
                arm.settings(recipe.seed + number),
                concurrency=recipe.concurrency,
                out=places.traces(number),
                progress=progress,
            )
        )
    done.touch()


def _select(recipe: ImproveRecipe, places: Places, number: int) -> None:
    traces = read_traces(places.traces(number))
    engine = str(traces[0].settings.get("engine", ""))
    write_selected(select(traces, recipe.select), recipe.select, places.selected(number), model=engine)


def _mix(recipe: ImproveRecipe, places: Places, number: int) -> None:
    """What is kept, and so many original rows beside it; pictures of both below one folder."""
    out, selected = places.rows(number), places.selected(number)
    rows = _moved(read_jsonl(selected / TRAIN, StagedRow), selected, out)
    if recipe.original is not None:
        share = recipe.original.share
        rows += _originals(recipe.original, max(1, round(len(rows) * share / (1 - share))), number, out)
    write_jsonl(out / TRAIN, rows)


def _originals(original: Original, count: int, number: int, out: Path) -> list[StagedRow]:
    if original.rows is None:
        folder = out.with_name("original")
        drawn = draw_rows(folder, seed=original.seed + number, count=count)
        rows = read_jsonl(drawn, StagedRow)
    else:
        path, folder = dataset_files(original.rows, original.images)
        there = read_rows(path, folder).rows
        order = random.Random(f"original:{original.seed}:{number}").sample(range(len(there)), len(there))
        rows = [there[place] for place in islice(order, count)]
    # Below a folder of their own: names of pictures may be those of others.
    return _moved(rows, folder, out, below="original/")


def _moved(rows: Sequence[StagedRow], folder: Path, out: Path, *, below: str = "") -> list[StagedRow]:
    """Rows whose pictures stand below `out`, too."""
    moved = []
    for row in rows:
        image = None if row.image is None else f"{below}{row.image}"
        if row.image is not None and image is not None:
            _, fault = place_picture(folder / row.image, out / image)
            if fault:
                raise InputError(f"row {row.id}: {fault}", hint="take the picture's row out")
        moved.append(row.model_copy(update={"image": image}))
    return moved


def _answers(recipe: ImproveRecipe, places: Places, tools: Tools, number: int) -> Piece:
    def done() -> bool:
        return all((places.answers(number, one.name) / REPORTS).is_file() for one in recipe.sets)

    def answer() -> None:
        with opened(tools.open, places.model(recipe, number), recipe.reward) as (model, loop):
            for wanted in recipe.sets:
                out = places.answers(number, wanted.name)
                questions = questions_of(wanted, places.questions(wanted.name))
                study = StudyRecipe(
                    questions=Path(wanted.name),
                    seeds=[recipe.seed],
                    arms=recipe.answers,
                    concurrency=recipe.concurrency,
                    out=out,
                )
                with counting(tools.console, wanted.name, len(study.all_arms()) * len(questions)) as tell:
                    study_alone(loop, model, study, questions, tell=tell)

    return Piece(f"answers-{number}", done, answer)
