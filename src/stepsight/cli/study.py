"""`stepsight study`: searches compared on the same questions, at what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.model_options import brought_model
from stepsight.cli.options import JsonOption, check_folder

if TYPE_CHECKING:
    from stepsight.records import Question
    from stepsight.study.recipe import StudyRecipe


def study_command(
    context: typer.Context,
    recipe_path: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, such as recipes/study/hard.yaml.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one value of the recipe, such as seeds=[0,1]; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare searches on the same questions: accuracy against tokens and seconds, with intervals."""
    import asyncio

    from rich.console import Console

    from stepsight.assembly import ModelChoice, load_model
    from stepsight.cli.study_judges import build_study_judge
    from stepsight.evaluation import EvaluationReport
    from stepsight.files import whole_file
    from stepsight.protocols import Judge
    from stepsight.recipes import load_recipe, save_resolved
    from stepsight.reports.progress import described
    from stepsight.reports.study import claims_table, study_heading, study_markdown, study_table
    from stepsight.study.deriving import reasons
    from stepsight.study.plots import check_plots, plot
    from stepsight.study.recipe import Arm, StudyRecipe
    from stepsight.study.results import results
    from stepsight.study.run import derivable, run_study
    from stepsight.world.checker import check

    recipe = load_recipe(recipe_path, StudyRecipe, changes or ())
    check_folder(recipe.out)
    check_plots()
    questions = _questions(recipe)
    errors = Console(stderr=True, highlight=False)
    model = brought_model(context)
    if model is None:
        with errors.status(f"loading {recipe.model}"):
            model = load_model(ModelChoice(recipe.model, replicas=recipe.replicas))
    loaded = model

    def judge_of(arm: Arm) -> Judge | None:
        return build_study_judge(arm.judge, loaded) if arm.judged else None

    for arm in recipe.all_arms():
        judge_of(arm)  # a judge that does not exist is named before anything runs
    wider = derivable(recipe, loaded.engine)
    for name, arm in wider.items():
        errors.print(f"{name} is not run: its answers are among those of {arm.name}", markup=False, soft_wrap=True)
    if recipe.derive:
        for name, why in reasons(recipe.all_arms()).items():
            errors.print(f"{name} is run: {why}", markup=False, soft_wrap=True)
    save_resolved(recipe, recipe.out / "recipe.yaml")
    runs = len(recipe.all_arms()) * len(recipe.seeds)
    done: dict[str, int] = {}
    with described(errors, "answering", runs * len(questions)) as tell:

        def progress(what: str, count: int) -> None:
            done[what] = count
            tell(sum(done.values()), what)

        async def run() -> dict[str, list[EvaluationReport]]:
            try:
                return await run_study(
                    recipe,
                    questions,
                    loaded.engine,
                    judge_of,
                    truth=check if all("scene" in one.meta for one in questions) else None,
                    progress=progress,
                )
            finally:
                await loaded.aclose()

        reports = asyncio.run(run())
    result = results(reports, seeds=recipe.seeds, claims=recipe.claims)
    for name, text in (("result.json", result.model_dump_json(indent=2)), ("table.md", study_markdown(result))):
        with whole_file(recipe.out / name) as stream:
            stream.write(text.encode())
    plot(result, recipe.out)
    if as_json:
        typer.echo(result.model_dump_json())
    else:
        console = Console(highlight=False)
        console.print(study_table(result))
        if result.claims:
            console.print(claims_table(result))
        console.print(study_heading(result), markup=False)
        console.print(f"tables and plots are in {recipe.out}", markup=False, soft_wrap=True)


def _questions(recipe: StudyRecipe) -> list[Question]:
    from stepsight.pictures import check_picture
    from stepsight.study.recipe import Drawn
    from stepsight.world.split import load_questions, save_split

    path = recipe.questions
    if isinstance(path, Drawn):
        path = save_split(path.split, seed=path.seed, count=path.count, out=recipe.out / "questions")
    questions = load_questions(path)
    for picture in dict.fromkeys(image for question in questions for image in question.images):
        check_picture(picture)
    return questions
