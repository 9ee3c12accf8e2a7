"""Rejection-sampled fine-tuning as Markdown: what each round learned from, and whether the models got better."""

from __future__ import annotations

from collections.abc import Iterator

from stepsight.evaluation.statistics import PairedDifference
from stepsight.rejection.results import ImproveResult, SetFigures
from stepsight.reports.reproduce import table
from stepsight.reports.scores import interval


def improve_markdown(result: ImproveResult) -> str:
    """Tables of rounds and of sets of questions, each gain with its paired interval and what it says."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: ImproveResult) -> Iterator[str]:
    rows = [
        [
            str(number),
            f"{one.kept:,}",
            f"{one.rows:,}",
            ", ".join(f"{count:,} {why}" for why, count in one.left_out.items()),
        ]
        for number, one in enumerate(result.rounds, start=1)
    ]
    yield from table(["round", "answers kept", "rows learned from", "answers left out"], rows)
    for one in result.sets:
        yield f"**{one.name}**: {one.described}."
        yield ""
        yield from _set(one)


def _set(one: SetFigures) -> Iterator[str]:
    rows = []
    for way, models in one.answered_by.items():
        for number, model in enumerate(models):
            rows.append(
                [
                    way,
                    f"after round {number}" if number else "before",
                    *(interval(share) for share in (model.accuracy, model.valid, model.captions)),
                    "" if model.gain is None else _gain(model.gain),
                    "" if model.gain is None else _said(model.gain),
                ]
            )
    heads = ["answered by", "model", "accuracy", "well formed", "captions true", "gain, in points", "what it says"]
    yield from table(heads, rows)
    for way, models in one.answered_by.items():
        if len(models[-1].families) > 1:
            found = [[name, f"{gain.n:,}", _gain(gain)] for name, gain in models[-1].families.items()]
            yield from table([f"family, by {way}, after the last round", "questions", "gain, in points"], found)


def _gain(gain: PairedDifference) -> str:
    if gain.value is None or gain.low is None or gain.high is None:
        return "none"
    return (
        f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}); "
        f"{gain.only_first} won, {gain.only_second} lost, p = {gain.p:.2g}"
    )


def _said(gain: PairedDifference) -> str:
    if gain.low is None or gain.high is None:
        return "nothing to tell it by"
    return "better" if gain.low > 0 else "worse" if gain.high < 0 else "not told apart"
