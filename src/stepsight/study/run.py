"""Run a study: each arm and seed is an evaluation of its own, and goes on where it was stopped.

An arm whose answers a wider one draws too is not run but derived from it (see `deriving`), after all that are run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from stepsight.evaluation import EvaluationReport, evaluate
from stepsight.evaluation.report import Read, Truth, read_staged
from stepsight.protocols import Engine, Judge
from stepsight.records import Question
from stepsight.search import strategy
from stepsight.study.deriving import derive, sources
from stepsight.study.recipe import Arm, StudyRecipe


async def run_study(
    recipe: StudyRecipe,
    questions: Sequence[Question],
    engine: Engine,
    judge_of: Callable[[Arm], Judge | None],
    *,
    truth: Truth | None = None,
    read: Read = read_staged,
    progress: Callable[[str, int], None] = lambda what, done: None,
) -> dict[str, list[EvaluationReport]]:
    """The reports of all arms, one for each seed; traces are kept under the recipe's `out`.

    Args:
        recipe: what to compare.
        questions: what all arms answer.
        engine: answers.
        judge_of: the judge of an arm.
        truth: checks stages, where something is known of them.
        read: takes answers apart.
        progress: called with what runs and how many answers there are of it.
    """
    arms = recipe.all_arms()
    wider = derivable(recipe, engine)
    runs: dict[str, list[EvaluationReport]] = {arm.name: [] for arm in arms}
    for arm in sorted(arms, key=lambda arm: arm.name in wider):
        for seed in recipe.seeds:
            tell = partial(progress, f"{arm.name}, seed {seed}")
            if arm.search == "greedy" and runs[arm.name]:
                # It draws nothing, so a seed changes nothing.
                runs[arm.name].append(runs[arm.name][0])
                tell(len(questions))
                continue
            judge, out = judge_of(arm), traces_of(recipe.out, arm, seed)
            if arm.name in wider:
                source = traces_of(recipe.out, wider[arm.name], seed)
                await derive(
                    arm, seed, source, out, questions, engine, judge, concurrency=recipe.concurrency, progress=tell
                )
            # Of a derived arm this asks only what the wider one could not answer.
            report = await evaluate(
                questions,
                engine,
                judge,
                strategy(arm.search),
                arm.settings(seed),
                concurrency=recipe.concurrency,
                truth=truth,
                read=read,
                out=out,
                progress=lambda now, tell=tell: tell(now.done),  # type: ignore[misc]  # bound as it is now
            )
            runs[arm.name].append(report)
    return runs


def derivable(recipe: StudyRecipe, engine: Engine) -> dict[str, Arm]:
    """By name of an arm that is derived instead of run, the arm that is run for it.

    Without seeds a narrower run would have drawn other answers, so then there is none.
    """
    return sources(recipe.all_arms()) if recipe.derive and engine.capabilities.seeds else {}


def traces_of(out: Path, arm: Arm, seed: int) -> Path:
    """Where the traces of an arm are kept."""
    return out / arm.name / f"seed-{seed}" / "traces.jsonl"
