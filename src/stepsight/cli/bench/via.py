"""`stepsight bench NAME --via KIT`: a benchmark run by another harness against a server of ours, and read back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.bench.options import RootOption
from stepsight.cli.options import JsonOption, check_folder

if TYPE_CHECKING:
    from stepsight.evaluation.bridge import BridgeResult

KITS = ("vlmevalkit", "lmms-eval")


def via_command(
    name: Annotated[str, typer.Argument(help="The benchmark, such as MMStar; for lmms-eval also the name of a task.")],
    via: Annotated[str, typer.Option("--via", help="The harness: vlmevalkit or lmms-eval.")],
    kit_python: Annotated[
        Path, typer.Option("--kit-python", help="The python of the environment that the harness is installed in.")
    ],
    server: Annotated[
        str, typer.Option("--server", help="Base URL of the server; its key, if any, is STEPSIGHT_API_KEY.")
    ],
    model: Annotated[
        str, typer.Option("--model", help="What requests name, search included, such as pico@stage-beam:4:t0.6.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for settings, log, its files and the result.")],
    root: RootOption = None,
    content: Annotated[
        str, typer.Option("--content", help="Which text of an answer is sent: conclusion or whole.")
    ] = "conclusion",
    max_tokens: Annotated[int, typer.Option(help="Of a whole staged answer.", min=1)] = 4096,
    temperature: Annotated[
        float, typer.Option(help="That of requests; one in the model's name goes before it.", min=0.0)
    ] = 0.0,
    concurrency: Annotated[int, typer.Option(help="Questions under way at any time.", min=1)] = 8,
    retries: Annotated[int, typer.Option(help="So often a question is asked until it is given up.", min=1)] = 6,
    timeout: Annotated[int, typer.Option(help="Seconds that an answer may take, for vlmevalkit.", min=1)] = 1800,
    judge: Annotated[
        str, typer.Option("--judge", help="The name that vlmevalkit has for its judge; exact_matching is none.")
    ] = "exact_matching",
    judge_server: Annotated[
        str,
        typer.Option("--judge-server", help="Base URL of the judge; its key is OPENAI_API_KEY.", show_default=False),
    ] = "",
    limit: Annotated[int | None, typer.Option(help="The first questions alone, for lmms-eval.", min=1)] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a benchmark by VLMEvalKit or lmms-eval, unchanged, against `stepsight serve`, and read its scores back.

    The harness is installed by you, in an environment of its own. Leaves with 1 where questions have no answer.
    """
    from rich.console import Console

    from stepsight.engines.openai.address import checked_url
    from stepsight.errors import EngineError, InputError
    from stepsight.evaluation.bridge import BridgeSettings, run_lmms_eval, run_vlmevalkit
    from stepsight.evaluation.suites.catalogue import known_name

    if via not in KITS:
        raise InputError(f"there is no bridge to {via!r}", hint=f"choose one of {', '.join(KITS)}")
    if content not in ("conclusion", "whole"):
        raise InputError(f"there is no content {content!r}", hint="choose conclusion or whole")
    check_folder(out)
    settings = BridgeSettings(
        kit="vlmevalkit" if via == "vlmevalkit" else "lmms-eval",
        dataset=known_name(name),
        server=checked_url(server),
        model=model,
        content="whole" if content == "whole" else "conclusion",
        max_tokens=max_tokens,
        temperature=temperature,
        concurrency=concurrency,
        retries=retries,
        timeout=timeout,
        judge=judge,
        judge_server=checked_url(judge_server) if judge_server else "",
        limit=limit,
    )
    console = Console(stderr=True, highlight=False)
    with console.status(f"{via} {settings.dataset}") as status:

        def hear(line: str) -> None:
            status.update(f"{via} {settings.dataset}: {line[-80:]}".replace("[", "("))

        if settings.kit == "vlmevalkit":
            result = run_vlmevalkit(settings, python=kit_python, folder=out, root=root, hear=hear)
        else:
            result = run_lmms_eval(settings, python=kit_python, folder=out, hear=hear)
    typer.echo(result.model_dump_json() if as_json else "\n".join(_lines(result)))
    if result.failed:
        raise EngineError(
            f"{result.failed} of {result.answered} questions have no answer, and the scores count them",
            hint=f"see {out / 'kit.log'}; with vlmevalkit the same command asks only them again",
        )


def _lines(result: BridgeResult) -> list[str]:
    """What a person reads."""
    settings, first = result.settings, result.primary
    version = " ".join(filter(None, (result.version, result.commit)))
    said = [f"{settings.dataset} by {settings.kit} {version}: {settings.model}, {settings.content}, {settings.server}"]
    sure = "" if first.low is None or first.high is None else f" [{first.low:.2f}, {first.high:.2f}]"
    said.append(f"{first.name} {first.metric}: {first.value:.2f}{sure} of {result.answered:,} answers")
    ours = result.ours
    if ours is not None and ours.value is not None and ours.low is not None and ours.high is not None:
        same = {True: "the same scores", False: "OTHER SCORES", None: "not comparable: it had a judge"}[result.agrees]
        said.append(
            f"by our rules of {result.generation} over its answers: {100 * ours.value:.2f} "
            f"[{100 * ours.low:.2f}, {100 * ours.high:.2f}], {same}"
        )
    for score in result.scores:
        if score != first:
            said.append(f"  {score.name} {score.metric} {score.split}".rstrip() + f": {score.value:.2f}")
    return [*said, *(f"note: {notice}" for notice in result.notices)]
