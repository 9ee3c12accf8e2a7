"""Answers that lie on disk: folders of our runs, and files of predictions alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stepsight.errors import InputError
from stepsight.evaluation.bench.making import card_of
from stepsight.evaluation.bench.results import RESULT, Answers, BenchCard, BenchResult, read_result
from stepsight.evaluation.suites.catalogue import BENCHMARKS
from stepsight.evaluation.suites.predictions import FORMATS, Prediction, predictions_of, read_predictions
from stepsight.evaluation.suites.rules import Settings
from stepsight.evaluation.suites.suite import Suite, read_suite
from stepsight.tracefiles import TRACES, sift_traces


@dataclass(frozen=True)
class Stored:
    """Answers with their benchmark and as much of a card as is known; `folder` is that of our run, if it is one."""

    suite: Suite
    predictions: list[Prediction]
    card: BenchCard
    answers: Answers | None
    folder: Path | None


def stored_in(what: Path) -> list[Path]:
    """The folders with traces that `what` is or has in it, or the file of predictions that it is.

    Raises:
        InputError: there are none.
    """
    if what.is_file():
        return [what]
    places = [what, *sorted(path for path in what.iterdir() if path.is_dir())] if what.is_dir() else []
    found = [place for place in places if (place / TRACES).is_file()]
    if not found:
        raise InputError(
            f"{what} holds no answers to a benchmark",
            hint="give the folder of a run, or a file of predictions <model>_<data set>.tsv",
        )
    return found


def read_stored(place: Path, *, root: Path | None = None, bench: str = "") -> Stored:
    """Read answers and their benchmark.

    Args:
        place: a folder with traces, or a file of predictions.
        root: the folder of benchmark files; by default the one that the run used, or that of `LMUData`.
        bench: the data set of a file of predictions, where its name does not say.

    Raises:
        InputError: the benchmark's file is not there, or the predictions are not of it.
        RecordError: the traces or the result cannot be read.
    """
    return _of_file(place, root, bench) if place.is_file() else _of_run(place, root)


def dataset_in(path: Path) -> tuple[str, str]:
    """The model and the data set in the name of a file of predictions, `<model>_<data set>.tsv`.

    Raises:
        InputError: it names none of the known benchmarks.
    """
    known = sorted((name for name in BENCHMARKS if path.stem.endswith(f"_{name}")), key=len)
    if not known:
        raise InputError(f"the name of {path} ends with no known benchmark", hint="name it with --bench")
    return path.stem.removesuffix(f"_{known[-1]}"), known[-1]


def _of_file(path: Path, root: Path | None, bench: str) -> Stored:
    if path.suffix not in FORMATS:
        raise InputError(f"{path} is no file of predictions", hint=f"give a file {' or '.join(FORMATS)}, or a folder")
    model, dataset = (path.stem.removesuffix(f"_{bench}"), bench) if bench else dataset_in(path)
    suite = read_suite(dataset, root=root)
    card = card_of(suite, Settings(), model=model).model_copy(update={"versions": {}})
    return Stored(suite, read_predictions(path), card, None, None)


def _of_run(folder: Path, root: Path | None) -> Stored:
    traces = sift_traces(folder / TRACES).rows
    before = read_result(folder / RESULT) if (folder / RESULT).is_file() else None
    if not traces:
        raise InputError(f"{folder} holds no answer yet", hint="let `stepsight bench run` go on")
    suite = read_suite(traces[0].question.source, root=root or _root_of(before))
    if before is not None and before.asked < suite.of:
        suite = suite.first(before.asked)
    asked = {line.index for line in suite.lines}
    predictions = [one for one in predictions_of(traces) if one.index in asked]
    engine = str(traces[0].settings.get("engine", ""))
    search = {"strategy": traces[0].strategy, "judge": traces[0].judge, "seed": traces[0].seed}
    card = (
        before.card
        if before is not None
        else card_of(
            suite,
            Settings(),
            model=engine.partition(":")[2] or engine,
            engine=engine,
            search={**search, **traces[0].settings},
        )
    )
    card = card.model_copy(update={"data": suite.file})
    return Stored(suite, predictions, card, None if before is None else before.answers, folder)


def _root_of(before: BenchResult | None) -> Path | None:
    """The folder of the file that was used, if it is still there."""
    return before.card.data.path.parent if before is not None and before.card.data.path.is_file() else None
