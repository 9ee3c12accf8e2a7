"""A search as one self-contained page: nothing is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib.resources import files

from stepsight.conclusions import is_correct
from stepsight.evaluation.steps import last_verdict, steps_of
from stepsight.pages import picture_data, whole_page
from stepsight.pictures import load_picture
from stepsight.prompts.answer import choice_lines
from stepsight.records import Trace
from stepsight.reports.page.cards import CELL, step_html
from stepsight.stages import Stage, parse

_WIDEST = 900
"""Pixels; larger pictures are shown smaller, to keep the page small."""


def page_of(trace: Trace) -> str:
    """The page of a trace, as HTML.

    The picture, what was drawn at each step, side by side, with the winner's and the others' own words told apart, the
    judge's evidence, where the search went back, and what it cost. On questions of the drawn world the grid cells that
    a text names light up in the picture.

    A picture that is not where the trace says is left out, and the page says so.
    """
    style, script = (files(__package__).joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    return whole_page(trace.question.text[:80], "".join(_body(trace)), style=style, script=script)


def _body(trace: Trace) -> Iterator[str]:
    # What is asked and the picture stay in sight, as cells light up there.
    yield f"<main><aside>{''.join(_asked(trace))}</aside><div class=work>"
    usage = trace.usage
    yield (
        f"<p class=facts>{escape(trace.strategy)}, judge {escape(trace.judge or 'none')}, seed {trace.seed}, "
        f"{trace.seconds:.1f} s<br>tokens: {usage.kept:,} kept, {usage.discarded:,} discarded, {usage.judge:,} judge, "
        f"{usage.cached:,} cached</p>"
    )
    if trace.spending is not None:
        left = ", ".join(f"{value:g} {name}" for name, value in trace.spending.left.items())
        yield f"<p class=facts>budget: ended by {escape(trace.spending.ended_by)}; left: {escape(left)}</p>"
    for step in steps_of(trace):
        yield from step_html(trace, step, cells=_gridded(trace))
    final = last_verdict(trace)
    if final is not None:
        winner, others = final.order[0], ", ".join(f"#{one}" for one in final.order[1:])
        yield f"<h2>WHOLE ANSWERS<small>the one that ends in #{winner} before those in {others}</small></h2>"
    engine = escape(str(trace.settings.get("engine", "")))
    yield f"<footer>stepsight · {engine} · question {escape(trace.question.id)}</footer></div></main>"


def _asked(trace: Trace) -> Iterator[str]:
    question, parsed = trace.question, parse(trace.text)
    conclusion = parsed.stages.get(Stage.CONCLUSION)
    named = set(CELL.findall(parsed.stages.get(Stage.CAPTION, ""))) if _gridded(trace) else set()
    yield f"{_picture(trace, named)}<div class=asked><h1>{escape(question.text)}</h1>"
    if question.choices:
        yield f"<p class=facts>{escape(' · '.join(choice_lines(question)))}</p>"
    known = ""
    if question.answer is not None:
        right = conclusion is not None and is_correct(question, conclusion)
        said = "<span class=good>right</span>" if right else "<span class=warn>wrong</span>"
        known = f"<small class=facts>{said}; known answer: {escape(question.answer)}</small>"
    if conclusion is None:
        yield f"<p class='answer none'>no conclusion was written {known}</p>"
    else:
        yield f"<p class=answer>{escape(conclusion)} {known}</p>"
    for fault in parsed.faults:
        yield f"<p class='facts warn'>{escape(fault.detail)}</p>"
    yield "</div>"


def _gridded(trace: Trace) -> bool:
    """Whether the picture is of the drawn world; of one that somebody brought, whether the answer speaks as of one."""
    question = trace.question
    if "scene" in question.meta or question.source == "tabletop":
        return True
    return question.source in ("ask", "chat") and any(CELL.search(one.piece.text) for one in trace.candidates)


def _picture(trace: Trace, named: set[str]) -> str:
    if not trace.question.images:
        return "<div class=facts>a question without a picture</div>"
    path = trace.question.images[0]
    if not path.is_file():
        return f"<div class='facts warn'>the picture {escape(str(path))} is not there any more</div>"
    data = picture_data(load_picture(path), _WIDEST)
    cells = "".join(
        f'<rect id="cell-{column}{row + 1}" class="cell{" named" if f"{column}{row + 1}" in named else ""}" '
        f'x="{place}" y="{row}" width="1" height="1"><title>{column}{row + 1}</title></rect>'
        for row in range(7)
        for place, column in enumerate("ABCDEFG")
    )
    names = "".join(
        f'<text x="{place + 0.5}" y=".3">{column}</text><text x=".15" y="{place + 0.6}">{place + 1}</text>'
        for place, column in enumerate("ABCDEFG")
    )
    grid = f'<svg viewBox="0 0 7 7" preserveAspectRatio="none" aria-hidden="true">{cells}{names}</svg>'
    image = f'<img alt="the picture asked about" src="{data}">'
    # In focus it is large where the screen is small.
    return f"<div class=picture tabindex=0>{image}{grid if _gridded(trace) else ''}</div>"
