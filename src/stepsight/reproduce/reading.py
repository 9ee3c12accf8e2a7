"""Where the answer stands in what a model writes that was trained on rows of one form or another.

    staged, apart, shuffled   in the CONCLUSION, whatever else is wrong with the stages
    no-tags                   in the last paragraph, if there is one before it
    direct                    it is all that is written

An answer that was cut off, or that has none of this, is *unreadable*: it counts as wrong and is counted besides. So the
same is asked of all forms, that the answer can be found; `evaluation` itself asks more of staged answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from stepsight.data.ablations import Form
from stepsight.evaluation.report import Read
from stepsight.records import Finish, Trace
from stepsight.reproduce.paragraphs import paragraphs
from stepsight.stages import STAGES, Fault, FaultKind, Parsed, Stage, parse


def reader(form: Form) -> Read:
    """What takes answers of this form apart; its one fault is that the CONCLUSION cannot be found."""
    stages_of = {Form.DIRECT: _direct, Form.NO_TAGS: _paragraphs}.get(form, _tagged)

    def read(trace: Trace) -> Parsed:
        stages = stages_of(trace)
        missing = Fault(FaultKind.MISSING, Stage.CONCLUSION, "the answer cannot be found in what is written")
        return Parsed(stages=stages, faults=() if Stage.CONCLUSION in stages else (missing,))

    return read


def _tagged(trace: Trace) -> Mapping[Stage, str]:
    return parse(trace.text).stages


def _direct(trace: Trace) -> Mapping[Stage, str]:
    text = trace.text.strip()
    return {Stage.CONCLUSION: text} if text and _ended(trace) else {}


def _paragraphs(trace: Trace) -> Mapping[Stage, str]:
    found = paragraphs(trace.text)
    if len(found) < 2 or not _ended(trace):
        return {}
    # With another number of paragraphs nobody can tell which is the caption.
    return dict(zip(STAGES, found, strict=True)) if len(found) == len(STAGES) else {Stage.CONCLUSION: found[-1]}


def _ended(trace: Trace) -> bool:
    """Whether the model itself brought its answer to an end."""
    chosen = {candidate.id: candidate for candidate in trace.candidates}
    return all(chosen[id].finish is Finish.STOP for id in trace.chosen)
