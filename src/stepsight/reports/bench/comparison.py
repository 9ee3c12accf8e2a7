"""Two results compared: a summary in lines, and a page with the pictures of questions that changed sides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

from stepsight.data.page_parts import STYLE, THUMBNAIL, table
from stepsight.errors import PictureError
from stepsight.evaluation.bench.comparing import Comparison, Side, TextDifference
from stepsight.evaluation.statistics import PairedDifference
from stepsight.pages import picture_data, whole_page
from stepsight.pictures import load_picture
from stepsight.prompts.answer import question_text
from stepsight.records import Question, Trace
from stepsight.stages import Stage, parse

SHOWN = 100
"""So many questions are shown of each text; the page says how many more there are."""

_NOTHING = "no question on which both could be scored"
_TEXTS = {"whole": "whole answer", "conclusion": "CONCLUSION"}


@dataclass(frozen=True)
class Sides:
    """What is known of the answers of two runs to one benchmark: traces by index, empty where there are none."""

    comparison: Comparison
    first: Mapping[str, Trace]
    second: Mapping[str, Trace]


def comparison_lines(comparison: Comparison, first: str, second: str) -> Iterator[str]:
    """What differs, and by how much."""
    yield f"{comparison.dataset}: {first} minus {second}"
    if not comparison.settings:
        yield "  no setting differs"
    for setting in comparison.settings:
        yield f"  {setting.name}: {setting.first} and {setting.second}"
    for text in comparison.texts:
        yield f"  {_TEXTS[text.which]}: {difference_of(text)}"
    for which in _untold(comparison):
        yield f"  {_TEXTS[which]}: {_NOTHING}"


def _untold(comparison: Comparison) -> list[str]:
    told = {text.which for text in comparison.texts}
    return [which for which in _TEXTS if which not in told]


def difference_of(text: TextDifference) -> str:
    """A difference in points with its 95 % interval."""
    span = text.span
    if span.value is None or span.low is None or span.high is None:
        return "no difference can be told"
    bounds = f"{100 * span.low:+.1f} to {100 * span.high:+.1f}, 95 %"
    said = f"{100 * span.value:+.1f} points ({bounds}) on {span.n} {text.unit}"
    if isinstance(span, PairedDifference):
        said += f"; only the first right: {span.only_first}, only the second: {span.only_second}, p = {span.p:.3g}"
    if text.left_out:
        said += f"; {text.left_out} left out, for they could not be scored"
    return f"{said}; {len(text.sides)} questions changed sides"


def comparison_page(found: list[Sides], first: str, second: str) -> str:
    """The page of a comparison: for each benchmark settings, differences, and questions that changed sides."""
    return whole_page(f"{first} and {second}", "".join(_body(found, first, second)), style=STYLE)


def _body(found: list[Sides], first: str, second: str) -> Iterator[str]:
    yield f"<h1>{escape(first)} and {escape(second)}</h1><p class=soft>Differences are the first minus the second.</p>"
    for sides in found:
        comparison = sides.comparison
        yield f"<h2>{escape(comparison.dataset)}</h2>"
        if comparison.settings:
            rows = [(one.name, _said(one.first), _said(one.second)) for one in comparison.settings]
            yield table(("setting", first, second), rows)
        else:
            yield "<p>No setting differs.</p>"
        for text in comparison.texts:
            yield f"<p><b>{_TEXTS[text.which]}</b>: {escape(difference_of(text))}</p>"
        for which in _untold(comparison):
            yield f"<p><b>{_TEXTS[which]}</b>: {_NOTHING}</p>"
        for text in comparison.texts:
            yield f"<h2>{escape(comparison.dataset)}, {_TEXTS[text.which]}: questions that changed sides</h2>"
            for side in text.sides[:SHOWN]:
                yield "".join(_question(side, sides, first, second))
            if len(text.sides) > SHOWN:
                yield f"<p class=soft>and {len(text.sides) - SHOWN} more</p>"


def _question(side: Side, sides: Sides, first: str, second: str) -> Iterator[str]:
    traces = (sides.first.get(side.index), sides.second.get(side.index))
    question = next((trace.question for trace in traces if trace is not None), None)
    yield f"<div class=example><div>{_pictures(question)}<div class=soft>{escape(side.index)}</div></div><div>"
    if question is not None:
        yield f"<p><b>{escape(question_text(question))}</b></p>"
        if question.answer is not None:
            yield f"<p class=soft>known answer: {escape(question.answer)}</p>"
    for name, value, given, trace in zip(
        (first, second), (side.first, side.second), (side.first_given, side.second_given), traces, strict=True
    ):
        mark = "right" if value == 1 else "wrong" if value == 0 else f"{value:g}"
        look = "good" if value > 0 else "bad"
        yield f"<p><span class={look}>{mark}</span> {escape(name)}, read as {escape(given or 'nothing')}</p>"
        if trace is not None:
            yield "<details><summary>its answer</summary>"
            stages = parse(trace.text).stages or {Stage.CONCLUSION: trace.text}
            yield "".join(f"<p><span class=soft>{stage}</span> {escape(said)}</p>" for stage, said in stages.items())
            yield "</details>"
    yield "</div></div>"


def _pictures(question: Question | None) -> str:
    if question is None:
        return "<p class=soft>no trace, so no picture</p>"
    shown = ""
    for path in question.images:
        try:
            shown += f'<img alt="" src="{picture_data(load_picture(path), THUMBNAIL)}">'
        except PictureError:
            shown += f"<p class=bad>{escape(path.name)} cannot be read</p>"
    return shown


def _said(value: object) -> str:
    return "none" if value is None else str(value)
