"""The immutable things that travel through stepsight, to and from JSON lines.

    Question -> Candidate(s) -> Verdict(s) -> Trace

Records hold only what happened; verbs live elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stepsight.stages import Stage


class Record(BaseModel):
    """A frozen value; an unknown key is an error.

    Infinities and NaN (a log-probability can be one) are written as JSON strings and read back as the same number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Finish(StrEnum):
    """Why a continuation ended; each engine translates its own dialect at its border."""

    STOP = "stop"
    LENGTH = "length"
    ERROR = "error"


class Question(Record):
    """A question about zero or more pictures.

    `answer` is the known answer where there is one. `meta` keeps what the source knows beyond that (on the world:
    `family`, `scene`, `program`, `split`, `staged_answer`); its `wording`, if there, is how the question with its
    choices is put to a model (`prompts.answer`), and `earlier` what was said before it: a list of turns, each with its
    `role`, its `text`, and how many of the pictures stand in it (`images`). What else datasets are built from:
    `data.lessons`.
    """

    id: str
    text: str = Field(min_length=1)
    images: tuple[Path, ...] = ()
    choices: tuple[str, ...] = ()
    answer: str | None = None
    source: str = ""
    meta: Mapping[str, Any] = Field(default_factory=dict)


class Piece(Record):
    """A stretch of assistant text. `ids` are the very tokens the engine sampled, where it reports them.

    Passing them back keeps a continuation exact: decoded text need not tokenise to the tokens it came from.
    """

    text: str
    ids: tuple[int, ...] | None = None


class Candidate(Record):
    """One sampled continuation: a stage or a whole answer.

    `stage` is None for a whole answer. A `sentence` is a piece of the stage that it stands in. `parent` is the id of
    the candidate that it continues.
    `tokens` counts generated tokens. `logprob` is the sum of their log-probabilities in nats under the model's own
    distribution (temperature 1, no truncation); None where the engine does not report it. `reason` is what the engine
    said of a finish `error`.
    """

    id: int
    stage: Stage | None
    slot: int
    seed: int
    piece: Piece
    finish: Finish
    tokens: int
    parent: int | None = None
    logprob: float | None = None
    sentence: bool = False
    reason: str = ""


class Comparison(Record):
    """One pairwise comparison of two candidates, both orders taken together.

    `evidence` keeps what the judge said or scored, per order, in its own words.
    """

    first: int
    second: int
    outcome: Literal["first", "second", "tie", "unreadable"]
    reason: str = ""
    evidence: Mapping[str, Any] = Field(default_factory=dict)


class Verdict(Record):
    """A judge's ordering of candidates of one question at one stage, with its evidence.

    `order` holds candidate ids, best first. `scores`, where the judge has them, are in the order of `order`.
    `tokens` counts the tokens that the judge computed (prompts and replies), `cached` those it reused.
    """

    judge: str
    stage: Stage | None
    order: tuple[int, ...] = Field(min_length=1)
    scores: tuple[float, ...] | None = None
    comparisons: tuple[Comparison, ...] = ()
    evidence: Mapping[str, Any] = Field(default_factory=dict)
    ties: int = 0
    unreadable: int = 0
    calls: int = 0
    tokens: int = 0
    cached: int = 0


class Usage(Record):
    """Tokens by what became of them.

    kept: generated and part of the answer. discarded: generated and dropped. judge: computed for verdicts, prompts
    and replies. cached: prompt tokens (text and picture) whose key-values were reused instead of computed again.
    """

    kept: int = 0
    discarded: int = 0
    judge: int = 0
    cached: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            kept=self.kept + other.kept,
            discarded=self.discarded + other.discarded,
            judge=self.judge + other.judge,
            cached=self.cached + other.cached,
        )


class Spending(Record):
    """What a search was allowed, and what it left.

    Limits are None where there was none: generated tokens (kept and discarded), seconds, candidates. `ended_by` says
    what brought the search to its end: its own plan (`done`), a limit, or, before either, that enough was known
    (`agreed`). `left` says what of each limit was not used.
    """

    tokens: int | None = None
    seconds: float | None = None
    candidates: int | None = None
    ended_by: Literal["done", "agreed", "tokens", "seconds", "candidates"] = "done"
    left: Mapping[str, float] = Field(default_factory=dict)


class Trace(Record):
    """Everything one search did; enough to judge again without generating again.

    `chosen` holds the ids of the candidates whose pieces, in order, are the answer.
    """

    question: Question
    strategy: str
    judge: str | None
    seed: int
    settings: Mapping[str, Any]
    candidates: tuple[Candidate, ...]
    verdicts: tuple[Verdict, ...]
    chosen: tuple[int, ...]
    usage: Usage
    seconds: float
    spending: Spending | None = None

    @property
    def text(self) -> str:
        """The whole answer as written, tags included."""
        by_id = {candidate.id: candidate for candidate in self.candidates}
        return "".join(by_id[index].piece.text for index in self.chosen)

    def leaves(self) -> Iterator[tuple[Candidate, str]]:
        """Every candidate that nothing continues, and all that was written up to its end."""
        by_id = {candidate.id: candidate for candidate in self.candidates}
        continued = {candidate.parent for candidate in self.candidates}
        for candidate in self.candidates:
            if candidate.id not in continued:
                text, parent = candidate.piece.text, candidate.parent
                while parent is not None:
                    text, parent = by_id[parent].piece.text + text, by_id[parent].parent
                yield candidate, text
