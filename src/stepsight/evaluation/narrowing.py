"""Narrower runs out of a wide one, without generating.

Searches that draw whole answers draw each by its slot: its seed derives from (run seed, question, slot), so the first N
of a run of width W are the very answers that a run of width N draws, if the engine keeps seeds. What a narrower run
chooses is found by asking again who chooses. `vote` and `best-of-n` draw alike, so either can be had from the other.

Not to be had: seconds (a narrower trace has the wide one's, and says under `derived` whence it comes), and how many
prompt tokens were reused, which depends on what else was being answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepsight.errors import InputError
from stepsight.protocols import Judge
from stepsight.records import Trace, Usage
from stepsight.search import WHOLE, is_judged
from stepsight.search.vote import elected

DERIVED = "derived"
"""The key under which a trace's settings say which run it was derived from."""


def why_not(trace: Trace, width: int) -> str:
    """Why a run of this width cannot be derived from a trace's; empty if it can."""
    wide = int(trace.settings.get("width", 0))
    return not_exact(
        trace.strategy,
        wide=wide,
        width=width,
        limited=trace.spending is not None,
        greedy_first=bool(trace.settings.get("greedy_first")),
        continued=any(one.parent is not None for one in trace.candidates),
    ) or ("" if len(trace.candidates) >= width else f"it holds {len(trace.candidates)} of {wide} answers")


def not_exact(
    strategy: str, *, wide: int, width: int, limited: bool, greedy_first: bool = False, continued: bool = False
) -> str:
    """Why a narrower run would not have drawn the first answers of this one; empty if it would."""
    if strategy not in WHOLE or continued:
        return f"{strategy} goes on from what was chosen, so a narrower search would have written other texts"
    if not 1 <= width <= wide:
        return f"{width} answers cannot be taken from {wide}"
    if limited:
        return "its budget could have bought a narrower search other answers"
    if greedy_first and width == 1 < wide:
        return "its first answer is the most likely one, while a search of width 1 samples"
    return ""


async def narrowed(trace: Trace, width: int, *, strategy: str, judge: Judge | None) -> Trace:
    """The trace that `strategy` with this width and judge would have made, given one of a wider search.

    Args:
        trace: of `vote` or `best-of-n`, without a budget.
        width: at most that of the trace.
        strategy: `vote` or `best-of-n`.
        judge: asked where there is something to choose and `strategy` asks one.

    Raises:
        InputError: it cannot be derived exactly, or a judge is missing.
    """
    why = why_not(trace, width) or not_exact(strategy, wide=width, width=width, limited=False)
    if why:
        raise InputError(
            f"width {width} cannot be derived from the trace of {trace.question.id}: {why}",
            hint="run it: `stepsight eval` with that width",
        )
    candidates = trace.candidates[:width]
    judged = is_judged(strategy, width, "" if judge is None else judge.name)
    asked = judge if judged else None
    if asked is None and judged:
        raise InputError(f"{strategy} of width {width} needs a judge", hint="name one with --judge")
    verdicts = () if asked is None else (await asked.judge(trace.question, None, (), candidates),)
    if verdicts:
        chosen = verdicts[0].order[0]
    else:
        chosen = (elected(trace.question, candidates) if strategy == "vote" else candidates[0]).id
    kept = next(one.tokens for one in candidates if one.id == chosen)
    drawing = trace.usage.cached - sum(verdict.cached for verdict in trace.verdicts)
    return trace.model_copy(
        update={
            "strategy": strategy,
            "judge": None if asked is None else asked.name,
            "settings": _settings(trace, width),
            "candidates": candidates,
            "verdicts": verdicts,
            "chosen": (chosen,),
            "usage": Usage(
                kept=kept,
                discarded=sum(one.tokens for one in candidates) - kept,
                judge=sum(verdict.tokens for verdict in verdicts),
                cached=drawing + sum(verdict.cached for verdict in verdicts),
            ),
        }
    )


def _settings(trace: Trace, width: int) -> Mapping[str, Any]:
    whence = {"strategy": trace.strategy, "judge": trace.judge, "width": trace.settings["width"]}
    # Of a trace that was derived itself, the run that really drew the answers.
    return {**trace.settings, "width": width, DERIVED: trace.settings.get(DERIVED, whence)}
