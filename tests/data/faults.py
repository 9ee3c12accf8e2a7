"""Builds against a teacher that goes wrong on purpose, held against what that teacher says it did.

Shared by the tests (a few questions) and `benchmarks/data_faults.py` (many, and a teacher in a process of its own).
"""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from stepsight.data.build_recipe import BuildRecipe
from stepsight.data.building import build, write_rows
from stepsight.data.ledger import LEDGER, Ledger
from stepsight.data.lessons import read_lessons
from stepsight.data.prices import Prices
from stepsight.data.reasons import Reason
from stepsight.data.staged_rows import TRAIN
from stepsight.data.teaching import TeachingSettings
from stepsight.engines.openai import Ability, Finding, OpenAIEngine, ProbeReport, Server
from stepsight.engines.openai.retrying import Backoff
from stepsight.intervals import wilson_bounds
from stepsight.serving.teacher import MODEL
from stepsight.stages import parse
from stepsight.world.checker import check
from stepsight.world.split import load_questions

SOUND, KEPT = "sound", "kept"
RIGHT: Mapping[str, str] = {
    SOUND: KEPT,
    "malformed": Reason.FORMAT,
    "wrong": Reason.DISAGREES,
    "refusal": Reason.REFUSAL,
    "truncated": Reason.TRUNCATED,
}
"""What is to become of a reply that went wrong in this way."""
PRICES = Prices(input=1.0, output=2.0)
RESCUING = TeachingSettings(tries=3, retry_on=(Reason.DISAGREES, Reason.REFUSAL))


@dataclass(frozen=True)
class Share:
    """So many of so many, with the 95 % interval of Wilson."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        return self.hits / self.n if self.n else 0.0

    def __str__(self) -> str:
        if not self.n:
            return "none"
        low, high = wilson_bounds(self.hits, self.n)
        return f"{self.value:.4f} ({low:.4f} to {high:.4f}), {self.hits} of {self.n}"


@dataclass
class Outcomes:
    """What became of questions, by how their first reply went wrong: `fates[injected][fate]`.

    `lies` are ids of kept rows whose conclusion is not the truth. `statuses` counts refusals by status as the server
    says, `noted` as the ledger does, and `free` those of the latter that were noted as costing nothing. `replies` are
    those of the teacher and, so many as it `compared`, of the judge.
    """

    fates: dict[str, Counter[str]]
    lies: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    free: Counter[str] = field(default_factory=Counter)
    replies: int = 0
    compared: int = 0
    seconds: float = 0.0

    def precision(self, injected: str) -> Share:
        """Of the questions with the fate that this fault is to have: those that had the fault."""
        fate = RIGHT[injected]
        return Share(self.fates[injected][fate], sum(counts[fate] for counts in self.fates.values()))

    def recall(self, injected: str) -> Share:
        """Of the questions with this fault: those with the fate that it is to have."""
        return Share(self.fates[injected][RIGHT[injected]], self.fates[injected].total())

    def kept(self, injected: str) -> Share:
        """Of the questions with this fault: those that became rows."""
        return Share(self.fates[injected][KEPT], self.fates[injected].total())


async def outcomes(questions: Path, out: Path, url: str, teaching: TeachingSettings, *, window: int = 16) -> Outcomes:
    """Build all `questions` with the teacher at `url`, and hold what became of them against what it injected."""
    recipe = BuildRecipe(teaching=teaching, prices=PRICES, window=window)
    # The teacher knows nothing but its questions, which a probe does not ask.
    seen = Finding(value=Ability.YES, evidence="known")
    patient = Backoff(attempts=12, base=0.01, cap=0.05)
    engine = OpenAIEngine(Server(url, MODEL, backoff=patient), ProbeReport(url=url, model=MODEL, at="now", images=seen))
    try:
        with Ledger(out / LEDGER, recipe.card(engine.name)) as ledger:
            built = await build(read_lessons(questions), engine, recipe, ledger)
            write_rows(ledger, out)
    finally:
        await engine.aclose()
    assert (built.ending, built.progress.failed) == ("done", 0), built.first_failure
    told = json.loads(urllib.request.urlopen(url.replace("/v1", "/injected"), timeout=60).read())
    found = _held_against(out, told["injected"])
    found.lies = _lies(questions, out)
    found.compared, found.seconds = told["compared"], built.progress.seconds
    return found


def _held_against(out: Path, injected: list[dict[str, object]]) -> Outcomes:
    first: dict[str, str] = {}
    statuses: Counter[str] = Counter()
    for one in injected:
        fault = str(one["fault"])
        if fault in RIGHT:
            first.setdefault(str(one["question"]), fault)
        else:
            statuses[fault] += 1
    fates: dict[str, Counter[str]] = {injected: Counter() for injected in RIGHT}
    with closing(sqlite3.connect(out / LEDGER)) as database:
        for id, state, reason in database.execute("SELECT id, state, reason FROM questions"):
            fates[first.get(id, SOUND)][reason or state] += 1
        failures = database.execute("SELECT reason, lost FROM failures").fetchall()
        (replies,) = database.execute("SELECT COUNT(*) FROM attempts WHERE state = 'replied'").fetchone()
    found = Outcomes(fates, statuses=statuses, replies=replies)
    for reason, lost in failures:
        status = next((status for status in ("429", "500") if f"({status})" in reason), "other")
        found.noted[status] += 1
        found.free[status] += not lost
    return found


def _lies(questions: Path, out: Path) -> list[str]:
    known = {question.id: question for question in load_questions(questions)}
    rows = [json.loads(line) for line in (out / TRAIN).read_text(encoding="utf-8").splitlines()]
    stages = {row["id"]: parse(row["conversations"][1]["value"]).stages for row in rows}
    return [id for id, said in stages.items() if not check(known[id], said).conclusion]
