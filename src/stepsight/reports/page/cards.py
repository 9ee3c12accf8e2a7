"""The candidates of one step as cards side by side: what each wrote, and what it has that the kept one has not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from stepsight.evaluation.steps import Step
from stepsight.records import Candidate, Finish, Trace
from stepsight.reports.differences import differences
from stepsight.reports.terminal import ending, remarks, shown, tally
from stepsight.stages import STOP_STRINGS, Stage, StageStream

CELL = re.compile(r"\b[A-G][1-7]\b")
"""A cell of the drawn world's grid, as texts name it."""

Sections = list[tuple[Stage | None, str]]


def step_html(trace: Trace, step: Step, *, cells: bool) -> Iterator[str]:
    """A step: where the search went back, what was drawn behind what, and a card for each candidate, judge's order.

    Words are told apart against the chosen candidate; where none of the step was, against the judge's best. Candidates
    that wrote the same words show them once. With `cells` each card names the cells in its text, for the picture.
    """
    name = step.stage.value if step.stage else "WHOLE ANSWER"
    if step.back:
        yield f"<p class=back>↩ back to {escape(name)}</p>"
    base = next((one for one in step.candidates if one.id in trace.chosen), step.candidates[0])
    words = {one.id: " ".join(shown(one.piece.text).split()) for one in step.candidates}
    facts = [f"{len(step.candidates)} drawn, {len(set(words.values()))} distinct"]
    if step.parent is not None:
        facts.append(f"behind {_link(step.parent)}")
    if step.verdict is not None and step.verdict.comparisons:
        facts.append(f"{_many(len(step.verdict.comparisons), 'comparison')}, {_many(step.verdict.ties, 'tie')}")
    if len(set(words.values())) > 1:
        facts.append(f"differences to {_link(base.id)}")
    yield f"<h2>{escape(name)}<small>{' · '.join(facts)}</small></h2><div class=cards>"
    first: dict[str, int] = {words[base.id]: base.id}
    for candidate in step.candidates:
        twin = first.setdefault(words[candidate.id], candidate.id)
        yield _card(trace, step, candidate, base, twin=None if twin == candidate.id else twin, cells=cells)
    yield "</div>"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _link(candidate: int) -> str:
    return f'<a href="#c{candidate}">#{candidate}</a>'


def _card(trace: Trace, step: Step, candidate: Candidate, base: Candidate, *, twin: int | None, cells: bool) -> str:
    verdict = step.verdict
    facts = [f"<b>#{candidate.id}</b>", f"{candidate.tokens} tokens"]
    if candidate.logprob is not None:
        facts.append(f"log-probability {_number(candidate.logprob, 2)}")
    if verdict is not None:
        facts.append(escape(str(tally(verdict, candidate.id))))
        facts += [escape(remark) for remark in remarks(verdict, candidate.id)]
        if verdict.scores is not None and candidate.id in verdict.order:
            score = verdict.scores[verdict.order.index(candidate.id)]
            if score != candidate.logprob:
                facts.append(f"score {_number(score, 3)}")
    if candidate.finish is not Finish.STOP:
        facts.append(f"<span class=warn>{escape(ending(candidate))}</span>")
    named = " ".join(dict.fromkeys(CELL.findall(candidate.piece.text))) if cells else ""
    marks = f' tabindex="0" data-cells="{named}"' if named else ""
    chosen = " chosen" if candidate.id in trace.chosen else ""
    head = " ".join(f"<span>{one}</span>" for one in facts if one)
    text = _text(candidate, base) if twin is None else f"<p class=facts>the words of {_link(twin)}</p>"
    return (
        f'<article id="c{candidate.id}" class="card{chosen}"{marks}><header>{head}</header>'
        f"<div class=text>{text}</div></article>"
    )


def _number(value: float, digits: int) -> str:
    """Rounded, without a minus in front of nothing."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _text(candidate: Candidate, base: Candidate) -> str:
    """The text in paragraphs; of a whole answer one for each stage, each held against the same stage of `base`."""
    known = {} if candidate is base else dict(_sections(base))
    paragraphs = []
    for stage, text in _sections(candidate):
        label = f"<b class=stage>{stage.value}</b> " if stage and candidate.stage is None else ""
        said = escape(text) if candidate is base else _compared(known.get(stage, ""), text)
        paragraphs.append(f"<p>{label}{said}</p>")
    closes = candidate.piece.text.rstrip().endswith(STOP_STRINGS)
    return "".join(paragraphs) or f"<p class=facts>{'the end of the stage' if closes else 'no words'}</p>"


def _sections(candidate: Candidate) -> Sections:
    stream = StageStream()
    found: Sections = []
    for event in [*stream.feed(candidate.piece.text), *stream.finish()]:
        if event.kind == "text":
            if found and found[-1][0] is event.stage:
                found[-1] = (event.stage, found[-1][1] + event.text)
            else:
                found.append((event.stage, event.text))
    return [(stage, words) for stage, text in found if (words := shown(text))]


def _compared(base: str, text: str) -> str:
    tags = {"same": "{}", "first": "<del>{}</del>", "second": "<ins>{}</ins>"}
    return " ".join(tags[run.where].format(escape(run.words)) for run in differences(base, text))
