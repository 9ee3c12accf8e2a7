"""Scores of benchmarks in words: in percent, never without an interval and what they are of."""

from __future__ import annotations

from collections.abc import Iterator

from stepsight.evaluation.bench.results import BenchResult
from stepsight.evaluation.bench.subsets import ACCURACY, EXACT
from stepsight.evaluation.scoring.measures import Measure
from stepsight.evaluation.scoring.tables import Group
from stepsight.evaluation.suites.predictions import Which
from stepsight.evaluation.suites.scores import Result


def percent(measure: Measure | None) -> str:
    """A score in percent with its 95 % interval, such as `57.6 (55.1 to 60.0)`; `none` where there is none."""
    if measure is None or measure.value is None or measure.low is None or measure.high is None:
        return "none"
    return f"{100 * measure.value:.1f} ({100 * measure.low:.1f} to {100 * measure.high:.1f})"


def comparable(result: BenchResult, which: Which) -> tuple[Group, ...]:
    """The groups of scores that compare with VLMEvalKit's, by text; none if there is no such text.

    Without a grader that is what counts the unscored as wrong, as its `exact_matching` does; with one, where only a
    grader can say, or where not a single answer could be read, what leaves them out.
    """
    text = _text(result, which)
    if text is None:
        return ()
    return text.exact if text.exact is not None and _counts_as_wrong(result, text) else text.groups


def comparable_subset(result: BenchResult, which: Which) -> Measure | None:
    """The score of the paper's reasoning subset, chosen as `comparable` chooses."""
    found = {group.metric: group.measure for group in result.subsets.get(which, ())}
    text = _text(result, which)
    wrong = text is not None and _counts_as_wrong(result, text)
    return found.get(EXACT, found.get(ACCURACY)) if wrong else found.get(ACCURACY)


def _text(result: BenchResult, which: Which) -> Result | None:
    if result.scores is None:
        return None
    return result.scores.whole if which == "whole" else result.scores.conclusion


def _counts_as_wrong(result: BenchResult, text: Result) -> bool:
    """Whether an answer that no rule could read is wrong; if none at all could be read there is no score, not 0."""
    return result.card.grader is None and text.counts.unscored < result.asked


def conditions(result: BenchResult) -> Iterator[str]:
    """What a score depends on, in lines of facts."""
    card = result.card
    search = card.search
    if search:
        width = "" if search.get("strategy") == "greedy" else f", width {search.get('width')}"
        judge = f", judge {search['judge']}" if search.get("judge") else ""
        heat = (
            "temperature 0"
            if search.get("strategy") == "greedy"
            else (f"temperature {search.get('temperature')}, top-p {search.get('top_p')}, seed {search.get('seed')}")
        )
        yield f"{search.get('strategy')}{width}{judge}; {heat}, at most {search.get('max_tokens')} tokens a piece"
    else:
        yield "how it was searched and decoded is not known"
    if card.prompts is not None:
        yield f"prompts {card.prompts.version}"
    yield f"rules of {card.generation}" + (" (verbose)" if card.verbose else "")
    if card.grader is not None:
        yield f"grader {card.grader.engine} with {card.grader.prompts.version}"
    published = {True: "the published file", False: "not the published file", None: "a file of one's own"}
    yield f"{result.asked} of {result.of} questions of {published[card.data.published]}"


def what_became(result: BenchResult) -> Iterator[str]:
    """How many answers were cut, missing, unscored and the like; nothing where all is well."""
    if result.scores is not None:
        for name, text in (("whole", result.scores.whole), ("CONCLUSION", result.scores.conclusion)):
            if text is None:
                continue
            counts = text.counts
            told = {
                "unscored": counts.unscored,
                "judged": counts.judged,
                "judge failed": counts.judge_failed,
                "without a conclusion": counts.without_conclusion,
                "blanked": counts.blanked,
            }
            said = ", ".join(f"{count} {what}" for what, count in told.items() if count)
            if said:
                yield f"{name}: {said}"
        if result.scores.whole.counts.missing:
            yield f"{result.scores.whole.counts.missing} questions have no answer"
        if result.scores.whole.counts.truncated:
            yield f"{result.scores.whole.counts.truncated} answers were cut off at the limit of tokens"
    if result.answers is not None and result.answers.limited:
        yield f"{result.answers.limited} answers ran into the limit of tokens in one of their stages"
