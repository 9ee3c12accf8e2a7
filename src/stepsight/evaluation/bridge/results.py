"""What a kit is told, and what it said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from stepsight.errors import InputError
from stepsight.evaluation.scoring.measures import Measure
from stepsight.evaluation.suites.places import DataFile
from stepsight.evaluation.suites.predictions import Which
from stepsight.files import whole_file
from stepsight.records import Record

KitName = Literal["vlmevalkit", "lmms-eval"]

SETTINGS = "settings.json"
RESULT = "result.json"
LOG = "kit.log"
WORK = "work"


class BridgeSettings(Record):
    """Everything that can move a kit's score and is ours to say.

    server: the base URL, such as `http://127.0.0.1:8400/v1`. model: what requests name, search included. content: which
    text of an answer the server sends. max_tokens, temperature: of every request. retries, timeout: so often a request
    is made, and the seconds each may take. judge: the kit's name for one; `exact_matching` is none. limit: the first
    questions alone, which only lmms-eval can.
    """

    kit: KitName
    dataset: str
    task: str = ""
    server: str
    model: str
    content: Which = "conclusion"
    max_tokens: int = 4096
    temperature: float = 0.0
    concurrency: int = 8
    retries: int = 6
    timeout: int = 1800
    judge: str = "exact_matching"
    judge_server: str = ""
    limit: int | None = None


class KitScore(Record):
    """One number of a kit: in percent for VLMEvalKit, as the task has it for lmms-eval.

    `low` and `high` are its 95 % interval by the kit's own standard error, where it gives one. `ours` is the same score
    by our rules over the same answers, from 0 to 100, where we have it.
    """

    name: str
    metric: str
    split: str = ""
    value: float
    low: float | None = None
    high: float | None = None
    ours: float | None = None


class BridgeResult(Record):
    """What came of a run.

    version, commit: of the kit, as it says. primary: the score by which the kit ranks. answered: questions with an
    answer; failed: questions for which the kit has given up, which it scores as answers. ours: the overall score by our
    rules of the answers that the kit had, with its interval. agrees: whether every score that both have is the same;
    None where there is none.
    """

    settings: BridgeSettings
    version: str
    commit: str
    python: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    file: DataFile | None
    scores: tuple[KitScore, ...]
    primary: KitScore
    answered: int
    failed: int
    ours: Measure | None = None
    generation: str = ""
    agrees: bool | None = None
    notices: tuple[str, ...] = ()
    folder: Path


def settle_folder(folder: Path, settings: BridgeSettings) -> bool:
    """Write the settings into the folder of a run; returns whether a run with the same ones was there already.

    Raises:
        InputError: the folder holds a run with other settings.
    """
    path = folder / SETTINGS
    if path.is_file():
        try:
            before = BridgeSettings.model_validate_json(path.read_bytes())
        except ValueError as error:
            raise InputError(f"{path} is no file of settings", hint="choose another folder") from error
        fields = [name for name in BridgeSettings.model_fields if getattr(before, name) != getattr(settings, name)]
        if fields:
            told = ", ".join(f"{name} {getattr(before, name)!r}" for name in fields)
            raise InputError(f"{folder} holds a run with other settings: {told}", hint="choose another folder")
        return True
    with whole_file(path) as stream:
        stream.write(settings.model_dump_json(indent=2).encode() + b"\n")
    return False


def keep(folder: Path, result: BridgeResult) -> None:
    """Write a result into the folder of its run."""
    with whole_file(folder / RESULT) as stream:
        stream.write(result.model_dump_json(indent=2).encode() + b"\n")
