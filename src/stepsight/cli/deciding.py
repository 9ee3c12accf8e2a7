"""What verbs share that decide finished searches again: who decides, and files that are made trace by trace."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stepsight.cli.model_options import brought_model

if TYPE_CHECKING:
    import typer
    from rich.console import Console

    from stepsight.assembly import LoadedModel, ModelChoice
    from stepsight.evaluation.remaking import Make, Remade, Survey
    from stepsight.protocols import Judge

_T = TypeVar("_T")


@dataclass(frozen=True)
class OpenJudge:
    """A judge, the model it asks if there is one, and what tells its verdicts from those of others."""

    judge: Judge
    model: LoadedModel | None
    identity: dict[str, object]


def open_judge(context: typer.Context, choice: ModelChoice, judge: str, errors: Console) -> OpenJudge:
    """The judge called `judge`, which knows the truth if it is the oracle; a model is loaded only if it asks one.

    Raises:
        InputError: there is no such judge.
    """
    from stepsight.assembly import check_choice, load_model, with_judge_prompts
    from stepsight.cli.study_judges import ASK_NO_MODEL, build_study_judge

    ready = brought_model(context)
    if ready is None and judge not in ASK_NO_MODEL:
        check_choice(choice)
        with errors.status(f"loading {choice.name}"):
            ready = load_model(choice)
    model = None if ready is None else with_judge_prompts(ready, choice.judge_prompts)
    identity: dict[str, object] = {"judge": judge}
    if judge not in ASK_NO_MODEL and model is not None:
        named = ("name", "revision", "server", "dtype", "quantize", "reward")
        identity |= {"engine": model.engine.name, "judge_prompts": model.card.judge_prompts}
        identity |= {f"model.{key}": getattr(choice, key) for key in named}
    return OpenJudge(build_study_judge(judge, model), model, identity)


async def closing(work: Coroutine[Any, Any, _T], model: LoadedModel | None) -> _T:
    """Do the work, then close the model."""
    try:
        return await work
    finally:
        if model is not None:
            await model.aclose()


def surveyed(source: Path, limit: int | None, errors: Console) -> Survey:
    """Look through a file of traces; rows that are none are named and set aside.

    Raises:
        RecordError: it holds no trace.
        PictureError: a picture is missing.
    """
    from stepsight.evaluation.remaking import survey
    from stepsight.pictures import check_picture

    found = survey(source, limit=limit)
    for picture in found.pictures:
        check_picture(picture)
    for fault in found.faults:
        errors.print(f"set aside: {fault}", style="yellow", markup=False, soft_wrap=True)
    return found


async def remade(
    source: Path,
    out: Path,
    make: Make,
    *,
    identity: dict[str, object],
    total: int,
    limit: int | None,
    concurrency: int,
    errors: Console,
) -> Remade:
    """`remaking.remake` with a bar; where it stops, a line says what is kept."""
    from stepsight.evaluation.remaking import partial_of, remake
    from stepsight.reports.progress import described

    done = 0
    try:
        with described(errors, "judging", total) as tell:

            def progress(count: int) -> None:
                nonlocal done
                done = count
                tell(count, str(out))

            return await remake(
                source, out, make, identity=identity, limit=limit, concurrency=concurrency, progress=progress
            )
    except BaseException:
        if done:
            kept = f"{done} of {total} are finished and kept in {partial_of(out)}; the same command goes on from there"
            errors.print(kept, markup=False, soft_wrap=True)
        raise
