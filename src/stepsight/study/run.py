"""Run a study: each arm and seed is an evaluation of its own, and goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stepsight.evaluation import EvaluationReport, evaluate
from stepsight.evaluation.report import Truth
from stepsight.protocols import Engine, Judge
from stepsight.records import Question
from stepsight.search import strategy
from stepsight.study.recipe import Arm, StudyRecipe


async def run_study(
    recipe: StudyRecipe,
    questions: Sequence[Question],
    engine: Engine,
    judge_of: Callable[[Arm], Judge | None],
    *,
    truth: Truth | None = None,
    progress: Callable[[str, int], None] = lambda what, done: None,
) -> dict[str, list[EvaluationReport]]:
    """The reports of all arms, one for each seed; traces are kept under the recipe's `out`.

    Args:
        recipe: what to compare.
        questions: what all arms answer.
        engine: answers.
        judge_of: the judge of an arm.
        truth: checks stages, where something is known of them.
        progress: called with what runs and how many answers there are of it.
    """
    runs: dict[str, list[EvaluationReport]] = {}
    for arm in recipe.all_arms():
        for seed in recipe.seeds:
            what = f"{arm.name}, seed {seed}"
            report = await evaluate(
                questions,
                engine,
                judge_of(arm),
                strategy(arm.search),
                arm.settings(seed),
                concurrency=recipe.concurrency,
                truth=truth,
                out=traces_of(recipe.out, arm, seed),
                progress=lambda now, what=what: progress(what, now.done),  # type: ignore[misc]  # bound as it is now
            )
            runs.setdefault(arm.name, []).append(report)
    return runs


def traces_of(out: Path, arm: Arm, seed: int) -> Path:
    """Where the traces of an arm are kept."""
    return out / arm.name / f"seed-{seed}" / "traces.jsonl"
