"""Predictions of a suite scored: for the whole answers and for their CONCLUSIONs alone.

Each is scored twice over. `groups` leaves out, and counts, what could not be scored: a text no rule can read is a
question to a judge, not a wrong answer. In `exact` such a text is wrong: that is VLMEvalKit's `exact_matching`, and for
MathVista, which it never scores without a judge, what it makes of a judge that returns every text unchanged. Where
nothing can be said without a judge, `exact` is None.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from stepsight.errors import InputError
from stepsight.evaluation.scoring.cells import as_read
from stepsight.evaluation.scoring.hallusion import AVERAGE
from stepsight.evaluation.scoring.measures import Measure
from stepsight.evaluation.scoring.readings import By, Extractor, Reading
from stepsight.evaluation.scoring.tables import Group
from stepsight.evaluation.suites.places import DataFile
from stepsight.evaluation.suites.predictions import Prediction, Which, match_lines
from stepsight.evaluation.suites.rules import Line, Response, Settings
from stepsight.evaluation.suites.suite import Suite
from stepsight.records import Record


class Counts(Record):
    """How many questions there are, and what became of them.

    missing: without a prediction. truncated: cut off at the limit of tokens. without_conclusion: scored by CONCLUSION,
    and there is none, which is wrong. blanked: texts such as `None` that a table turns into `nan`. unscored: in no
    score. judged: settled by a judge; judge_failed: put to one in vain. by: what each text was read by.
    """

    questions: int
    missing: int
    truncated: int
    without_conclusion: int
    blanked: int
    unscored: int
    judged: int
    judge_failed: int
    by: Mapping[str, int]


class Result(Record):
    """The scores of one text of every answer, and how each was read."""

    which: Which
    groups: tuple[Group, ...]
    exact: tuple[Group, ...] | None
    counts: Counts
    readings: tuple[Reading, ...]

    @property
    def overall(self) -> Measure:
        """The score of all questions; of HallusionBench the mean of its three accuracies."""
        return overall(self.groups)


class Scores(Record):
    """All that is known of one scoring; `conclusion` is None where no answer has a CONCLUSION at all."""

    dataset: str
    kind: str
    file: DataFile
    notices: tuple[str, ...]
    generation: str
    verbose: bool
    judged: bool
    whole: Result
    conclusion: Result | None


def overall(groups: Sequence[Group]) -> Measure:
    """The first score of all questions, or the average where several accuracies are given."""
    of_all = [group for group in groups if group.kind == "overall"]
    return next((group for group in of_all if group.metric == AVERAGE), of_all[0]).measure


def score_by_rules(suite: Suite, predictions: Sequence[Prediction], settings: Settings | None = None) -> Scores:
    """Score predictions without any judge.

    Args:
        suite: the benchmark; all its questions count, those without a prediction as missing.
        predictions: at most one for each row.
        settings: the generation of the rules, the newest by default.

    Raises:
        InputError: the suite holds no answers, or a prediction is of no row, or of one that has another.
    """
    settings = settings or Settings()
    drafts = _drafts(suite, predictions, settings)
    return _scores(suite, settings, {draft.which: (draft, draft.readings) for draft in drafts}, judged=False)


async def score(
    suite: Suite,
    predictions: Sequence[Prediction],
    extractor: Extractor,
    settings: Settings | None = None,
    *,
    concurrency: int = 8,
) -> Scores:
    """Score predictions with a judge, which is asked wherever VLMEvalKit would ask one.

    Args:
        suite: as in `score_by_rules`.
        predictions: as in `score_by_rules`.
        extractor: asks the judge; what it raises is raised, where it returns None the text is unscored.
        settings: the generation of the rules, the newest by default.
        concurrency: how many asks are under way at any time.

    Raises:
        InputError: as `score_by_rules`, or `concurrency` is not positive.
    """
    if concurrency < 1:
        raise InputError(f"concurrency is {concurrency}", hint="give at least 1")
    settings = settings or Settings()
    gate = asyncio.Semaphore(concurrency)
    rules = suite.benchmark.rules

    async def settled(line: Line, response: Response, reading: Reading) -> Reading:
        async with gate:
            verdict = await extractor(rules.ask(line, response))
        if verdict is None:
            # A number that is the whole text needs nobody to take it out, and stands.
            kept = reading.by is By.VALUE
            return reading if kept else reading.model_copy(update={"hit": None, "by": By.JUDGE_FAILED})
        return rules.settle(line, verdict, settings)

    found = {}
    for draft in _drafts(suite, predictions, settings):
        readings = list(draft.readings)
        asks = [place for place, reading in enumerate(readings) if reading.asks]
        verdicts = await asyncio.gather(
            *(settled(suite.lines[place], draft.responses[place], readings[place]) for place in asks)
        )
        for place, reading in zip(asks, verdicts, strict=True):
            readings[place] = reading
        found[draft.which] = (draft, readings)
    return _scores(suite, settings, found, judged=True)


class _Draft:
    """One text of every answer, read by rules alone."""

    def __init__(self, suite: Suite, found: Mapping[str, Prediction], which: Which, settings: Settings) -> None:
        parts = {index: text for index, one in found.items() if (text := one.part(which)) is not None}
        # What reading makes of a text depends on its whole column.
        cells = dict(zip(parts, as_read(list(parts.values())), strict=True))
        self.which: Which = which
        self.blanked = sum(cell is None for cell in cells.values())
        self.truncated = sum(one.truncated for one in found.values())
        self.responses: list[Response] = []
        self.readings: list[Reading] = []
        for line in suite.lines:
            response = Response(parts.get(line.index, ""), cells.get(line.index))
            self.responses.append(response)
            if line.index not in found:
                reading = Reading(index=line.index, hit=None, given="", by=By.MISSING)
            elif line.index not in parts:
                reading = Reading(index=line.index, hit=0.0, given="", by=By.NO_CONCLUSION)
            else:
                reading = suite.benchmark.rules.read(line, response, settings)
            self.readings.append(reading)


def _drafts(suite: Suite, predictions: Sequence[Prediction], settings: Settings) -> list[_Draft]:
    if not suite.answered:
        raise InputError(
            f"{suite.name} holds no answers, so it cannot be scored here",
            hint="write a file for the benchmark's own server (submission.write_submission)",
        )
    found = match_lines(suite, predictions)
    whole = _Draft(suite, found, "whole", settings)
    conclusion = _Draft(suite, found, "conclusion", settings)
    told = any(reading.by not in (By.MISSING, By.NO_CONCLUSION) for reading in conclusion.readings)
    return [whole, conclusion] if told else [whole]


def _scores(
    suite: Suite, settings: Settings, found: Mapping[Which, tuple[_Draft, Sequence[Reading]]], *, judged: bool
) -> Scores:
    results = {which: _result(suite, draft, readings) for which, (draft, readings) in found.items()}
    return Scores(
        dataset=suite.name,
        kind=suite.benchmark.rules.kind,
        file=suite.file,
        notices=suite.notices,
        generation=settings.generation,
        verbose=settings.verbose,
        judged=judged,
        whole=results["whole"],
        conclusion=results.get("conclusion"),
    )


def _result(suite: Suite, draft: _Draft, readings: Sequence[Reading]) -> Result:
    rules = suite.benchmark.rules
    # VLMEvalKit knows only what stands in the file of predictions.
    there = [place for place, reading in enumerate(draft.readings) if reading.by is not By.MISSING]
    exact = None
    if rules.exact:
        exact = rules.groups(
            [suite.lines[place] for place in there], [draft.readings[place] for place in there], exact=True
        )
    by = Counter(reading.by.value for reading in readings)
    return Result(
        which=draft.which,
        groups=rules.groups(suite.lines, readings, exact=False),
        exact=exact,
        counts=Counts(
            questions=len(suite.lines),
            missing=by[By.MISSING],
            truncated=draft.truncated,
            without_conclusion=by[By.NO_CONCLUSION],
            blanked=draft.blanked,
            unscored=sum(reading.hit is None for reading in readings),
            judged=by[By.JUDGE],
            judge_failed=by[By.JUDGE_FAILED],
            by=dict(sorted(by.items())),
        ),
        readings=tuple(readings),
    )
