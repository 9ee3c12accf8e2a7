"""A trace taken apart into steps: what was drawn together, who judged it, and where the search went back."""

from __future__ import annotations

from dataclasses import dataclass

from stepsight.records import Candidate, Trace, Verdict
from stepsight.stages import STAGES, Stage


@dataclass(frozen=True)
class Step:
    """Candidates of one stage that continue the same line and were drawn together, in the judge's order.

    `back` says that the search had been at a later stage before: it retraced.
    """

    stage: Stage | None
    parent: int | None
    candidates: tuple[Candidate, ...]
    verdict: Verdict | None
    back: bool


def steps_of(trace: Trace) -> tuple[Step, ...]:
    """The steps of a search in the order in which they happened."""
    groups: list[list[Candidate]] = []
    for candidate in trace.candidates:
        last = groups[-1][-1] if groups else None
        if last is not None and (last.stage, last.parent) == (candidate.stage, candidate.parent):
            groups[-1].append(candidate)
        else:
            groups.append([candidate])
    verdicts = [verdict for verdict in trace.verdicts if verdict.stage is not None or len(groups) == 1]
    steps: list[Step] = []
    reached = -1
    for group in groups:
        ids = {candidate.id for candidate in group}
        verdict = next((one for one in verdicts if set(one.order) == ids), None)
        order = {one: place for place, one in enumerate(verdict.order)} if verdict else {}
        stage = group[0].stage
        place = STAGES.index(stage) if stage is not None else 0
        steps.append(
            Step(
                stage=stage,
                parent=group[0].parent,
                candidates=tuple(sorted(group, key=lambda one: order.get(one.id, one.id))),
                verdict=verdict,
                back=place < reached,
            )
        )
        reached = place
    return tuple(steps)


def last_verdict(trace: Trace) -> Verdict | None:
    """The verdict between whole answers that were written stage by stage, if there was one."""
    staged = any(candidate.stage is not None for candidate in trace.candidates)
    whole = [verdict for verdict in trace.verdicts if verdict.stage is None]
    return whole[-1] if staged and whole else None
