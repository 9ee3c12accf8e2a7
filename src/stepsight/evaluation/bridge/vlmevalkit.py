"""A benchmark run by a VLMEvalKit that is installed elsewhere, against a server of ours.

Contract, of open-compass/VLMEvalKit at e8e78f05 (18 August 2026), read in run.py, vlmeval/api/lmdeploy.py,
vlmeval/api/openai_sdk.py, vlmeval/smp/{file,misc,status_report}.py and vlmeval/dataset/:

    python run.py --config C --work-dir W --mode all --api-nproc N --judge J --judge-retry R [--reuse]
    C                {"model": {LABEL: {"class": "LMDeployAPI", ...}}, "data": {NAME: {"class": ..., "dataset": NAME}}}
    a request        POST .../chat/completions, one user turn: the picture as JPEG, then the text; further keys of the
                     model's entry, such as `search`, stand at the top of its body; LMDEPLOY_API_KEY is the key
    W/LABEL/T*/      status.json; LABEL_NAME.tsv with PRED_FORMAT=tsv; LABEL_NAME_acc.csv (choices, shares),
                     _score.csv (yes or no, percent), _JUDGE_score.csv (MathVista, MM-Vet, percent)
    failures         it ends with code 0 whatever happens: what went wrong stands in status.json, as `error_message`
                     or `skip_reason`, and questions without an answer read "Failed to obtain answer via API"

What it would change in silence is prevented: a `.env` in its folder overrides variables, so one that touches ours is
refused; a benchmark file of another MD5 would be downloaded anew, so it is refused. `tests/evaluation/bridge` holds a
kit that behaves so.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stepsight.engines.openai.address import Key
from stepsight.errors import EngineError, InputError
from stepsight.evaluation.bridge.reading import csv_scores, percent, with_ours
from stepsight.evaluation.bridge.results import LOG, WORK, BridgeResult, BridgeSettings, KitScore, keep, settle_folder
from stepsight.evaluation.bridge.running import (
    DISTRIBUTED,
    Installed,
    environment,
    find_installed,
    last_lines,
    run_kit,
    see_server,
)
from stepsight.evaluation.scoring.options import NO_REPLY
from stepsight.evaluation.suites.choice import Choice
from stepsight.evaluation.suites.mathvista import MathVistaRules
from stepsight.evaluation.suites.mmvet import MMVetRules
from stepsight.evaluation.suites.places import VARIABLE, data_folder
from stepsight.evaluation.suites.predictions import read_predictions
from stepsight.evaluation.suites.suite import Suite, read_suite
from stepsight.evaluation.suites.yes_no import YesNoQuestions
from stepsight.files import whole_file
from stepsight.tasks import finished

NAME = "VLMEvalKit"
COMMIT = "e8e78f05"
"""The commit that the contract was read in."""

DROPPED = (
    *DISTRIBUTED,
    *("VERBOSE", "SPLIT_THINK", "SKIP_ERR", "PRINT_VANILLA", "EVAL_FORMAT", "FORCE_LOCAL"),  # change texts or scores
    *("MMEVAL_ROOT", "FWD_API", "EVAL_PROXY", "LMDEPLOY_API_BASE"),  # send requests or results elsewhere
    *("VLMEVAL_LOCAL_MEDIA", "VLMEVAL_MAX_IMAGE_SIZE", "VLMEVAL_MIN_IMAGE_EDGE"),  # change pictures
)
"""Variables that the kit obeys and nobody would look for behind a score."""

_INSTALL = "git clone https://github.com/open-compass/VLMEvalKit && pip install -e VLMEvalKit, in that environment"


def run_vlmevalkit(
    settings: BridgeSettings,
    *,
    python: Path,
    folder: Path,
    root: Path | None = None,
    key: Key | None = None,
    hear: Callable[[str], None] = lambda line: None,
) -> BridgeResult:
    """Run a benchmark and read what came of it; the same call over the same folder goes on where it was stopped.

    Args:
        settings: what the kit is told.
        python: the interpreter of the kit's environment.
        folder: where everything is kept: settings, log, the kit's own files, the result.
        root: the folder of benchmark files, as for `read_suite`.
        key: that of the server; by default `Key.from_environment`.
        hear: is told every line that the kit prints.

    Raises:
        InputError: the kit, the file or the folder is not as it must be; nothing was started.
        EngineError: the server cannot be reached; the kit failed, and its last lines say why; or it left no scores.
    """
    # 1. Whatever can be wrong shows before an hour of answering.
    suite, class_ = _suite(settings, root)
    installed = find_installed(python, "vlmeval", install=_INSTALL)
    script = installed.folder.parent / "run.py"
    if not script.is_file():
        raise InputError(
            f"there is no {script}, by which {NAME} is run", hint=f"install it from its sources: {_INSTALL}"
        )
    key = Key.from_environment(settings.server) if key is None else key
    set_ = {VARIABLE: str(data_folder(root).absolute()), "PRED_FORMAT": "tsv"}
    if settings.judge_server:
        set_["OPENAI_API_BASE"] = f"{settings.judge_server}/chat/completions"
    _check_env_file(installed, [*set_, *DROPPED, "LMDEPLOY_API_KEY"])
    notice = finished(see_server(settings.server, settings.model, key))
    again = settle_folder(folder, settings)
    # 2. The run.
    label = settings.model.replace("/", "--")
    work = folder.absolute() / WORK
    config = folder.absolute() / "config.json"
    with whole_file(config) as stream:
        stream.write(json.dumps(_config(settings, label, class_), indent=2).encode() + b"\n")
    command = [
        *(str(installed.command), str(script), "--config", str(config), "--work-dir", str(work), "--mode", "all"),
        *("--api-nproc", str(settings.concurrency), "--judge", settings.judge),
        *("--judge-retry", str(settings.retries)),
        *(["--reuse"] if again else []),
    ]
    secret = {"LMDEPLOY_API_KEY": key.headers().get("Authorization", "Bearer none").removeprefix("Bearer ")}
    before = _states(work, label)
    log = folder / LOG
    run_kit(NAME, command, environment({**set_, **secret}, DROPPED, settings.server), folder=folder, log=log, hear=hear)
    # 3. What it wrote.
    # A run that starts in the same second has the same folder.
    status_file = max((path for path, at in _states(work, label).items() if before.get(path) != at), default=None)
    if status_file is None:
        raise EngineError(f"{NAME} ended and left no status.json: {last_lines(log)}", hint=f"all of it is in {log}")
    status = json.loads(status_file.read_text(encoding="utf-8"))
    told = _told(status, settings.dataset, log)
    stem = f"{label}_{settings.dataset}"
    ending = _ending(suite, settings.judge)
    scores = _read_scores(status_file.with_name(f"{stem}{ending}"), suite)
    answers = status_file.with_name(f"{stem}.tsv")
    if not answers.is_file():
        raise EngineError(f"{NAME} left no file {answers}", hint=f"see {log}")
    predictions = read_predictions(answers)
    failed = sum(NO_REPLY in one.text for one in predictions)
    compared = with_ours(suite, predictions, scores, exact=settings.judge == "exact_matching")
    primary = _primary(compared.scores)
    commit = str(status.get("commit", ""))
    result = BridgeResult(
        settings=settings,
        version=installed.version,
        commit=commit,
        python=installed.python,
        command=tuple(command),
        variables=set_,
        file=suite.file,
        scores=compared.scores,
        primary=primary,
        answered=len(predictions),
        failed=failed,
        ours=compared.overall,
        generation=compared.generation,
        agrees=compared.agrees,
        notices=tuple(
            filter(
                None,
                (
                    notice,
                    *suite.notices,
                    _other_commit(commit),
                    f"{failed} of {len(predictions)} questions have no answer and are scored all the same"
                    if failed
                    else "",
                    compared.notice,
                    _kit_disagrees(told, primary),
                ),
            )
        ),
        folder=folder,
    )
    keep(folder, result)
    return result


def _suite(settings: BridgeSettings, root: Path | None) -> tuple[Suite, str]:
    """The benchmark, and the kit's class for it."""
    suite = read_suite(settings.dataset, root=root)
    if suite.name != settings.dataset:
        raise InputError(f"the data set is {suite.name}, not {settings.dataset}", hint="give its exact name")
    file = suite.file
    if file.published is False:
        raise InputError(
            f"{file.path} is not the published file of {suite.name}, and {NAME} would download that over it",
            hint="get the published file, or give yours another name",
        )
    if file.path.name != f"{suite.name}.tsv":
        raise InputError(f"{NAME} reads {suite.name}.tsv, not {file.path.name}", hint="put that file beside it")
    if not suite.answered:
        raise InputError(f"{suite.name} holds no answers, so {NAME} does not score it", hint="choose another")
    if settings.limit is not None:
        raise InputError(f"{NAME} takes a benchmark whole", hint="leave out the limit, or write a smaller file")
    rules, own = suite.benchmark.rules, not suite.file.expected
    if isinstance(rules, Choice):
        return suite, "CustomMCQDataset" if own else "ImageMCQDataset"
    classes: dict[type, str] = {YesNoQuestions: "ImageYORNDataset", MathVistaRules: "MathVista", MMVetRules: "MMVet"}
    if own or type(rules) not in classes:
        raise InputError(
            f"{NAME} has no scores for files of one's own but multiple choice", hint="use `stepsight bench run`"
        )
    if settings.judge == "exact_matching" and isinstance(rules, MathVistaRules | MMVetRules):
        raise InputError(f"{NAME} scores {suite.name} with a judge alone", hint="name one with --judge")
    return suite, classes[type(rules)]


def _config(settings: BridgeSettings, label: str, class_: str) -> dict[str, Any]:
    model: dict[str, Any] = {
        "class": "LMDeployAPI",
        "model": settings.model,
        "api_base": f"{settings.server}/chat/completions",
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
        "retry": settings.retries,
        "timeout": settings.timeout,
        "verbose": False,
    }
    if settings.content == "whole":
        model["search"] = {"content": "whole"}
    return {"model": {label: model}, "data": {settings.dataset: {"class": class_, "dataset": settings.dataset}}}


def _check_env_file(installed: Installed, ours: Sequence[str]) -> None:
    path = installed.folder.parent / ".env"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    named = [line.strip().removeprefix("export ").partition("=") for line in lines]
    taken = sorted({name.strip() for name, _, value in named if name.strip() in ours and value.strip()})
    if taken:
        raise InputError(
            f"{path} sets {', '.join(taken)}, which {NAME} puts over what it is told here", hint="take them out of it"
        )


def _told(status: dict[str, Any], dataset: str, log: Path) -> float | None:
    """The primary metric among the flattened metrics of the status, if there is one.

    Raises:
        EngineError: the status says that something went wrong.
    """
    entry = status.get("datasets", {}).get(dataset, {})
    for name in ("error_message", "skip_reason"):
        if entry.get(name):
            raise EngineError(
                f"{NAME} gave {dataset} up: {entry[name]}; its last lines: {last_lines(log)}", hint=f"all is in {log}"
            )
    metrics = entry.get("metrics") or {}
    if entry.get("status") != "done" or not metrics:
        raise EngineError(f"{NAME} has no scores of {dataset}: {last_lines(log)}", hint=f"all of it is in {log}")
    value = metrics.get("split=none|Overall")
    return percent(value) if isinstance(value, int | float) else None


def _ending(suite: Suite, judge: str) -> str:
    rules = suite.benchmark.rules
    if isinstance(rules, Choice):
        return "_acc.csv"
    return "_score.csv" if isinstance(rules, YesNoQuestions) else f"_{judge}_score.csv"


def _read_scores(path: Path, suite: Suite) -> tuple[KitScore, ...]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EngineError(f"{NAME} left no scores that can be read at {path}", hint="see what is beside it") from error
    scores = csv_scores(rows, shares=isinstance(suite.benchmark.rules, Choice))
    if not any(score.name == "Overall" for score in scores):
        raise EngineError(f"{path} has no overall score", hint=f"{NAME} may have changed since {COMMIT}")
    return scores


def _primary(scores: Sequence[KitScore]) -> KitScore:
    """The overall score, over all splits; of several accuracies their mean, by which leaderboards rank."""
    of_all = sorted((score for score in scores if score.name == "Overall"), key=lambda score: score.split)
    if len(of_all) == 1 or of_all[0].metric == "acc":
        return of_all[0]
    value = sum(score.value for score in of_all) / len(of_all)
    ours = [score.ours for score in of_all if score.ours is not None]
    mean = sum(ours) / len(ours) if len(ours) == len(of_all) else None
    return KitScore(name="Overall", metric="average", value=value, ours=mean)


def _kit_disagrees(told: float | None, primary: KitScore) -> str:
    if told is None or abs(told - primary.value) < 1e-6:
        return ""
    return f"its status.json says {told:.4f}, its table {primary.value:.4f}"


def _other_commit(commit: str) -> str:
    if commit[:8] == COMMIT:
        return ""
    return f"{NAME} is at commit {commit or 'unknown'}; what is read here was checked against {COMMIT}"


def _states(work: Path, label: str) -> dict[Path, int]:
    """Every run's state there, and when it was last written."""
    return {path: path.stat().st_mtime_ns for path in work.glob(f"{_escaped(label)}/T*/status.json")}


def _escaped(label: str) -> str:
    """A label that means itself in a glob."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in label)
