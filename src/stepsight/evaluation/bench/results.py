"""The result of a benchmark as it is kept: scores of both texts, and the card of what they depend on.

<run>/<data set>/traces.jsonl                      what was answered, and how
                 result.json                       `BenchResult`
                 <model>_<data set>.tsv            the whole answers, in VLMEvalKit's form
                 <model>-conclusion_<data set>.tsv their conclusions alone
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from stepsight.errors import InputError, RecordError
from stepsight.evaluation.report import Judging, Seconds, UsageReport
from stepsight.evaluation.scoring.tables import Group
from stepsight.evaluation.statistics import Share
from stepsight.evaluation.suites.places import DataFile
from stepsight.evaluation.suites.scores import Scores
from stepsight.files import whole_file
from stepsight.records import Record

RESULT = "result.json"


class Texts(Record):
    """A versioned set of texts that are sent, and the hash of all of them."""

    version: str
    digest: str


class GraderCard(Record):
    """The judge of answers: which model, asked in which words, and how long it may reply."""

    engine: str
    prompts: Texts
    max_tokens: int


class BenchCard(Record):
    """Everything that can move a score; None or empty where it is not known, as of a file of predictions alone.

    model: its name. engine: what ran it. origin: where its weights come from, with their hash (see
    `model_folders.Origin`). prompts: in which words questions were put. search: strategy, judge, seed, width,
    temperature, limits of tokens and the like. judge_prompts: the texts of the search's judge. generation, verbose: of
    the scoring rules. grader: the judge of answers.
    """

    model: str
    engine: str = ""
    origin: Mapping[str, Any] = Field(default_factory=dict)
    prompts: Texts | None = None
    search: Mapping[str, Any] = Field(default_factory=dict)
    judge_prompts: Texts | None = None
    generation: str
    verbose: bool = False
    grader: GraderCard | None = None
    data: DataFile
    versions: Mapping[str, str] = Field(default_factory=dict)


class Answers(Record):
    """How the answers came about.

    limited: how many ran, in any of their stages, into the limit of tokens for one piece. failed: questions without an
    answer, and why. resumed: answers of an earlier session.
    """

    limited: int
    format_valid: Share
    faults: Mapping[str, int]
    failed: Mapping[str, str]
    resumed: int
    usage: UsageReport
    judging: Judging
    seconds: Seconds


class BenchResult(Record):
    """One benchmark's result.

    asked: how many questions, of so many (`of`) that the file has. scores: None where the file holds no answers.
    subsets: the paper's reasoning subsets, by text. together: by index, what is scored together (a circle, a set).
    answers: None where only predictions are known.
    """

    dataset: str
    kind: str
    asked: int
    of: int
    notices: tuple[str, ...]
    card: BenchCard
    scores: Scores | None
    subsets: Mapping[str, tuple[Group, ...]] = Field(default_factory=dict)
    together: Mapping[str, str] = Field(default_factory=dict)
    answers: Answers | None = None

    def short(self) -> dict[str, Any]:
        """As JSON without what is there for every question."""
        each = {"readings"}
        return self.model_dump(mode="json", exclude={"together": True, "scores": {"whole": each, "conclusion": each}})


def write_result(folder: Path, result: BenchResult) -> Path:
    """Write a result into its folder."""
    path = folder / RESULT
    with whole_file(path) as stream:
        stream.write(result.model_dump_json(indent=1).encode() + b"\n")
    return path


def read_result(path: Path) -> BenchResult:
    """Read a result.

    Raises:
        RecordError: it is none.
    """
    try:
        return BenchResult.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        fault = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise RecordError(
            f"{path} is no result of a benchmark: {fault}", hint="make it again with `stepsight bench score FOLDER`"
        ) from error


def find_results(folder: Path) -> dict[str, Path]:
    """The folders of results, by data set: `folder` itself, or the folders in it.

    Raises:
        InputError: there is none.
    """
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())] if folder.is_dir() else []
    found = {read_result(place / RESULT).dataset: place for place in places if (place / RESULT).is_file()}
    if not found:
        raise InputError(f"{folder} holds no result of a benchmark", hint="make one with `stepsight bench NAME`")
    return found
