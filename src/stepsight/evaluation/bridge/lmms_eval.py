"""A task run by an lmms-eval that is installed elsewhere, against a server of ours.

Contract, of EvolvingLMMs-Lab/lmms-eval at 75571cfe (6 August 2026, version 0.7.2), read in lmms_eval/__main__.py,
lmms_eval/models/{simple,chat}/openai.py, lmms_eval/loggers/evaluation_tracker.py and lmms_eval/evaluator.py:

    python -m lmms_eval --model openai --model_args model_version=M,base_url=U,... --tasks T --batch_size 1
           --gen_kwargs max_new_tokens=N,temperature=X --reasoning_tags none --log_samples --output_path W
    a request        POST .../chat/completions, the task's own words, the picture as PNG; OPENAI_API_KEY is the key
    W/MODEL/         DATE_results.json: {"results": {T: {"METRIC,FILTER": number, "METRIC_stderr,FILTER": ...}}};
                     DATE_samples_T.jsonl, a line for each question
    failures         it ends with code 0 after an error, without results; a question without an answer reads
                     "[LMMS_EVAL_REQUEST_FAILED ..."

Its tasks are its own: prompts, files (from the Hugging Face hub) and rules differ from VLMEvalKit's, so their scores do
not compare. It leaves temperature and token limit out where a model's name contains o1, o3, o4 or gpt-5; such a name is
refused. `tests/evaluation/bridge` holds a kit that behaves so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stepsight.engines.openai.address import Key
from stepsight.errors import EngineError, InputError
from stepsight.evaluation.bridge.results import LOG, WORK, BridgeResult, BridgeSettings, KitScore, keep, settle_folder
from stepsight.evaluation.bridge.running import (
    DISTRIBUTED,
    environment,
    find_installed,
    last_lines,
    run_kit,
    see_server,
)
from stepsight.evaluation.suites.catalogue import known_name
from stepsight.intervals import Z
from stepsight.tasks import finished

NAME = "lmms-eval"
COMMIT = "75571cfe"
"""The commit that the contract was read in."""

TASKS: Mapping[str, str] = {
    "MMStar": "mmstar",
    "MMBench_DEV_EN_V11": "mmbench_en_dev",
    "MMVet": "mmvet",
    "MathVista_MINI": "mathvista_testmini_format",
    "AI2D_TEST": "ai2d",
    "AI2D_TEST_NO_MASK": "ai2d_no_mask",
    "HallusionBench": "hallusion_bench_image",
}
"""Its tasks that come nearest to the benchmarks; any other name is taken for a task's."""

DROPPED = (
    *DISTRIBUTED,
    *("LMMS_IMAGE_ENCODE_FORMAT", "LMMS_IMAGE_JPEG_QUALITY", "OPENAI_API_BASE"),
)
"""Variables that the kit obeys and nobody would look for behind a score."""

FAILED = "[LMMS_EVAL_REQUEST_FAILED"

_UNHEATED = ("o1", "o3", "o4", "gpt-5")
_PLAIN = re.compile(r"[^\s,={}\[\]'\"]+")
_INSTALL = "pip install lmms_eval, in that environment"


def run_lmms_eval(
    settings: BridgeSettings,
    *,
    python: Path,
    folder: Path,
    key: Key | None = None,
    hear: Callable[[str], None] = lambda line: None,
) -> BridgeResult:
    """Run a task and read what came of it.

    Args:
        settings: what the kit is told; `task`, or else the task of `TASKS`, or else `dataset` is what it runs.
        python: the interpreter of the kit's environment.
        folder: where everything is kept: settings, log, the kit's own files, the result.
        key: that of the server; by default `Key.from_environment`.
        hear: is told every line that the kit prints.

    Raises:
        InputError: the kit, the settings or the folder are not as they must be; nothing was started.
        EngineError: the server cannot be reached; the kit failed, and its last lines say why; or it left no scores.
    """
    # 1. Whatever can be wrong shows before an hour of answering.
    task = settings.task or TASKS.get(known_name(settings.dataset), settings.dataset)
    _check(settings, task)
    installed = find_installed(python, "lmms_eval", install=_INSTALL)
    key = Key.from_environment(settings.server) if key is None else key
    notice = finished(see_server(settings.server, settings.model, key))
    settle_folder(folder, settings)
    # 2. The run.
    work = folder.absolute() / WORK
    secret = key.headers().get("Authorization", "").removeprefix("Bearer ")
    model = {
        "model_version": settings.model,
        "base_url": settings.server,
        # Without one the client takes OPENAI_API_KEY, which is the judge's where a task has a judge.
        **({} if secret else {"api_key": "none"}),
        "num_concurrent": settings.concurrency,
        "max_retries": settings.retries,
    }
    command = [
        *(str(installed.command), "-m", "lmms_eval", "--model", "openai"),
        *("--model_args", ",".join(f"{name}={value}" for name, value in model.items())),
        *("--tasks", task, "--batch_size", "1"),
        *("--gen_kwargs", f"max_new_tokens={settings.max_tokens},temperature={settings.temperature:g}"),
        *("--reasoning_tags", "none", "--log_samples", "--output_path", str(work)),
        *(["--limit", str(settings.limit)] if settings.limit is not None else []),
    ]
    set_ = {"OPENAI_API_KEY": secret} if secret else {}
    before = _states(work)
    log = folder / LOG
    run_kit(NAME, command, environment(set_, DROPPED, settings.server), folder=folder, log=log, hear=hear)
    # 3. What it wrote.
    file = max((path for path, at in _states(work).items() if before.get(path) != at), default=None)
    if file is None:
        raise EngineError(f"{NAME} ended and left no results: {last_lines(log)}", hint=f"all of it is in {log}")
    found = json.loads(file.read_text(encoding="utf-8"))
    scores = _scores(found.get("results", {}).get(task), file)
    answered, failed = _answers(file.with_name(file.name.replace("_results.json", f"_samples_{task}.jsonl")))
    commit = str(found.get("git_hash") or "")
    result = BridgeResult(
        settings=settings,
        version=str(found.get("lmms_eval_version") or installed.version),
        commit=commit,
        python=installed.python,
        command=tuple(command),
        variables={},
        file=None,
        scores=scores,
        primary=_primary(scores),
        answered=answered,
        failed=failed,
        notices=tuple(
            filter(
                None,
                (
                    notice,
                    f"the task {task} has {NAME}'s own prompts, files and rules; its scores compare with its own alone",
                    f"only {settings.limit} questions of each task" if settings.limit is not None else "",
                    f"{failed} of {answered} questions have no answer and are scored all the same" if failed else "",
                ),
            )
        ),
        folder=folder,
    )
    keep(folder, result)
    return result


def _check(settings: BridgeSettings, task: str) -> None:
    """Refuse what the kit would pass over, or change, in silence."""
    if settings.content != "conclusion":
        raise InputError(
            f"{NAME} sends no field of its own to a server, so it gets conclusions alone",
            hint="use --via vlmevalkit for whole answers",
        )
    if not _PLAIN.fullmatch(settings.model):
        raise InputError(
            f"{NAME} cannot be told of a model named {settings.model!r}", hint="serve it under another name with --name"
        )
    unheated = next((part for part in _UNHEATED if part in settings.model), None)
    if unheated:
        raise InputError(
            f"{NAME} takes {settings.model} for one of OpenAI's models, because of the {unheated} in it, and leaves "
            "out temperature and token limit",
            hint="serve it under another name with --name",
        )
    if settings.judge != "exact_matching" or settings.judge_server:
        raise InputError(f"the tasks of {NAME} name their judges themselves", hint="leave out --judge")
    if not _PLAIN.fullmatch(task):
        raise InputError(f"{task!r} is no name of one task", hint="name one, as `python -m lmms_eval tasks` lists them")


def _states(work: Path) -> dict[Path, int]:
    """Every run's results there, and when they were last written."""
    return {path: path.stat().st_mtime_ns for path in work.rglob("*_results.json")}


def _scores(entry: Mapping[str, Any] | None, file: Path) -> tuple[KitScore, ...]:
    found = []
    for key, value in (entry or {}).items():
        metric, comma, kind = key.partition(",")
        if not comma or "_stderr" in metric or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        error = (entry or {}).get(f"{metric}_stderr{comma}{kind}")
        sure = isinstance(error, int | float) and not isinstance(error, bool)
        half = Z * float(error) if sure and error is not None else None
        found.append(
            KitScore(
                name=metric,
                metric=kind,
                value=float(value),
                low=None if half is None else float(value) - half,
                high=None if half is None else float(value) + half,
            )
        )
    if not found:
        raise EngineError(f"{file} has no scores", hint=f"{NAME} may have changed since {COMMIT}")
    return tuple(found)


def _primary(scores: tuple[KitScore, ...]) -> KitScore:
    """What the task calls its average, else its first score."""
    return next((score for score in scores if score.name in ("average", "overall", "aAcc")), scores[0])


def _answers(path: Path) -> tuple[int, int]:
    """How many questions have an answer in a file of samples, and for how many the kit gave up."""
    answered = failed = 0
    try:
        with path.open(encoding="utf-8") as stream:
            for line in stream:
                answered += 1
                failed += FAILED in json.dumps(json.loads(line).get("filtered_resps"))
    except (OSError, ValueError) as error:
        raise EngineError(f"{NAME} left no answers that can be read at {path}", hint="see what is beside it") from error
    return answered, failed
