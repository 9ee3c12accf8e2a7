"""The options that say which model to use and how to load it, said once for all verbs that have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.engines.placement import MAX_ROWS

if TYPE_CHECKING:
    from stepsight.assembly import LoadedModel, ModelChoice

_MODEL = "Model"

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="pico (shipped), a model folder, or a hub id; with --server, its id there.",
        rich_help_panel=_MODEL,
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...", rich_help_panel=_MODEL)]
DtypeOption = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.", rich_help_panel=_MODEL)]
RevisionOption = Annotated[str | None, typer.Option(help="Revision of a hub model.", rich_help_panel=_MODEL)]
TrustOption = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run code that a hub model brings along.", rich_help_panel=_MODEL),
]
DeviceMapOption = Annotated[
    str | None,
    typer.Option(
        "--device-map",
        help='auto, balanced, or JSON such as {"": "cuda:0"}; instead of --device.',
        rich_help_panel=_MODEL,
    ),
]
AttentionOption = Annotated[str, typer.Option(help="auto, sdpa or eager.", rich_help_panel=_MODEL)]
QuantizeOption = Annotated[
    str, typer.Option(help="none, 8bit or 4bit weights, by bitsandbytes.", rich_help_panel=_MODEL)
]
CacheOption = Annotated[
    float, typer.Option("--cache-gb", help="GiB for key-values and pictures kept.", min=0.0, rich_help_panel=_MODEL)
]
RowsGbOption = Annotated[
    float | None,
    typer.Option(
        "--rows-gb",
        help="GiB for key-values of rows in work; those beyond wait. Half of what is free, unless given.",
        min=0.0,
        rich_help_panel=_MODEL,
    ),
]
SharingOption = Annotated[
    str,
    typer.Option(
        "--shared-prefix",
        help="Whether rows attend to one copy of what they have in common: auto, on or off.",
        rich_help_panel=_MODEL,
    ),
]
DraftTokensOption = Annotated[
    int | None,
    typer.Option(
        "--draft-tokens",
        help="Over how many tokens a step may run with guesses at what follows; 0 guesses nothing.",
        min=0,
        rich_help_panel=_MODEL,
        show_default="16",
    ),
]
ReplicasOption = Annotated[
    int,
    typer.Option(
        "--replicas",
        help="Copies of the model, each in a process of its own, on a part of the cores or a GPU of its own.",
        min=1,
        rich_help_panel=_MODEL,
    ),
]
MaxRowsOption = Annotated[
    int, typer.Option("--max-rows", help="The most rows in one batch.", min=1, rich_help_panel=_MODEL)
]
CompileOption = Annotated[
    # Hidden: it is refused, with the reason, for those who look for it.
    bool, typer.Option("--compile", help="Not offered; says why.", rich_help_panel=_MODEL, hidden=True)
]
ThreadsOption = Annotated[
    int | None, typer.Option(help="Threads of torch inside one operation.", min=1, rich_help_panel=_MODEL)
]
ServerOption = Annotated[
    str,
    typer.Option(
        "--server",
        help="Base URL of a server that speaks OpenAI's chat protocol and runs the model, such as "
        "http://localhost:8000/v1; the key, if any, is STEPSIGHT_API_KEY (for OpenAI, OPENAI_API_KEY too).",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]
ServerSeedsOption = Annotated[
    bool,
    typer.Option("--server-seeds", help="Send seeds to the server; a few servers die of it.", rich_help_panel=_MODEL),
]
JudgePromptsOption = Annotated[
    str,
    typer.Option(
        "--judge-prompts",
        help="Version of the judging texts: paper-1, paper-2 or short-2 (pico's). Default: what the model's card "
        "names, else paper-1.",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]

RewardOption = Annotated[
    str,
    typer.Option(
        "--reward",
        help="The reward model of the judge `reward`: a folder, http://..., or a kind with a model, such as "
        "visualprm:OpenGVLab/VisualPRM-8B. Default: what the model's card names (pico has one).",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]
RewardPythonOption = Annotated[
    str,
    typer.Option(
        "--reward-python",
        help="Interpreter for a reward model that needs a process of its own. Default: this one.",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]


def choose_model(
    model: ModelOption = "pico",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
    trust_remote_code: TrustOption = False,
    device_map: DeviceMapOption = None,
    attention: AttentionOption = "auto",
    quantize: QuantizeOption = "none",
    cache_gb: CacheOption = 1.0,
    rows_gb: RowsGbOption = None,
    max_rows: MaxRowsOption = MAX_ROWS,
    threads: ThreadsOption = None,
    shared_prefix: SharingOption = "auto",
    draft_tokens: DraftTokensOption = None,
    replicas: ReplicasOption = 1,
    server: ServerOption = "",
    server_seeds: ServerSeedsOption = False,
    judge_prompts: JudgePromptsOption = "",
    reward: RewardOption = "",
    reward_python: RewardPythonOption = "",
    compile: CompileOption = False,
) -> ModelChoice:
    """What the options say, checked.

    Raises:
        InputError: an option makes no sense.
    """
    from stepsight.assembly import ModelChoice

    return ModelChoice(
        model,
        device,
        dtype,
        revision,
        trust_remote_code,
        device_map=device_map,
        attention=attention,
        quantize=quantize,
        cache_gb=cache_gb,
        rows_gb=rows_gb,
        max_rows=max_rows,
        threads=threads,
        shared_prefix=shared_prefix,
        draft_tokens=draft_tokens,
        replicas=replicas,
        server=server,
        server_seeds=server_seeds,
        judge_prompts=judge_prompts,
        reward=reward,
        reward_python=reward_python,
        compile=compile,
    )


def brought_model(context: typer.Context) -> LoadedModel | None:
    """The loaded model that the caller of `stepsight.cli.app.run` brought along, if any."""
    from stepsight.assembly import LoadedModel

    return context.obj if isinstance(context.obj, LoadedModel) else None
