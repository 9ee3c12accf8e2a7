"""A search as one self-contained page: nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterator
from html import escape
from importlib.resources import files

from PIL import Image

from stepsight.evaluation.steps import Step, last_verdict, steps_of
from stepsight.pictures import load_picture
from stepsight.prompts.answer import question_text
from stepsight.records import Candidate, Finish, Trace
from stepsight.reports.differences import differences
from stepsight.reports.terminal import ending, remarks, shown, tally
from stepsight.stages import Stage, parse

_CELL = re.compile(r"\b[A-G][1-7]\b")
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
    allowed = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    question = trace.question
    body = "".join(_body(trace))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(allowed)}">'
        f"<title>{escape(question.text[:80])}</title><style>{style}</style></head>\n"
        f"<body>{body}<script>{script}</script></body></html>\n"
    )


def _body(trace: Trace) -> Iterator[str]:
    question, parsed = trace.question, parse(trace.text)
    conclusion = parsed.stages.get(Stage.CONCLUSION)
    named = set(_CELL.findall(parsed.stages.get(Stage.CAPTION, ""))) if _gridded(trace) else set()
    yield f"<main><div class=top>{_picture(trace, named)}<div><h1>{escape(question.text)}</h1>"
    if question.choices:
        lines = question_text(question).splitlines()[-len(question.choices) :]
        yield f"<p class=facts>{escape(' · '.join(lines))}</p>"
    if conclusion is None:
        yield "<p class='answer none'>no conclusion was written</p>"
    else:
        yield f"<p class=answer>{escape(conclusion)}</p>"
    if question.answer is not None:
        yield f"<p class=facts>known answer: {escape(question.answer)}</p>"
    for fault in parsed.faults:
        yield f"<p class='facts warn'>{escape(fault.detail)}</p>"
    usage = trace.usage
    yield (
        f"<p class=facts>{escape(trace.strategy)}, judge {escape(trace.judge or 'none')}, seed {trace.seed}, "
        f"{trace.seconds:.1f} s<br>tokens: {usage.kept:,} kept, {usage.discarded:,} discarded, {usage.judge:,} judge, "
        f"{usage.cached:,} cached</p>"
    )
    if trace.spending is not None:
        left = ", ".join(f"{value:g} {name}" for name, value in trace.spending.left.items())
        yield f"<p class=facts>budget: ended by {escape(trace.spending.ended_by)}; left: {escape(left)}</p>"
    yield "</div></div>"
    for step in steps_of(trace):
        yield from _step(trace, step)
    final = last_verdict(trace)
    if final is not None:
        winner, others = final.order[0], ", ".join(f"#{one}" for one in final.order[1:])
        yield f"<h2>WHOLE ANSWERS<small>the one that ends in #{winner} before those in {others}</small></h2>"
    engine = escape(str(trace.settings.get("engine", "")))
    yield f"<footer>stepsight · {engine} · question {escape(question.id)}</footer></main>"


def _step(trace: Trace, step: Step) -> Iterator[str]:
    name = step.stage.value if step.stage else "WHOLE ANSWER"
    if step.back:
        yield f"<p class=back>↩ back to {escape(name)}</p>"
    texts = {" ".join(shown(candidate.piece.text).split()) for candidate in step.candidates}
    facts = [f"{len(step.candidates)} drawn, {len(texts)} distinct"]
    if step.parent is not None:
        facts.append(f"behind #{step.parent}")
    if step.verdict is not None and step.verdict.comparisons:
        facts.append(f"{len(step.verdict.comparisons)} comparisons, {step.verdict.ties} ties")
    yield f"<h2>{escape(name)}<small>{' · '.join(facts)}</small></h2><div class=cards>"
    for candidate in step.candidates:
        yield _card(trace, step, candidate)
    yield "</div>"


def _card(trace: Trace, step: Step, candidate: Candidate) -> str:
    best, verdict = step.candidates[0], step.verdict
    facts = [f"<b>#{candidate.id}</b>", f"{candidate.tokens} tokens"]
    if candidate.logprob is not None:
        facts.append(f"log-probability {candidate.logprob:.2f}")
    if verdict is not None:
        facts.append(escape(str(tally(verdict, candidate.id))))
        facts += [escape(remark) for remark in remarks(verdict, candidate.id)]
        if verdict.scores is not None and candidate.id in verdict.order:
            facts.append(f"score {verdict.scores[verdict.order.index(candidate.id)]:.3f}")
    if candidate.finish is not Finish.STOP:
        facts.append(f"<span class=warn>{escape(ending(candidate))}</span>")
    text = shown(candidate.piece.text)
    text = escape(text) if candidate is best else _compared(shown(best.piece.text), text)
    cells = " ".join(dict.fromkeys(_CELL.findall(candidate.piece.text))) if _gridded(trace) else ""
    marks = f' tabindex="0" data-cells="{cells}"' if cells else ""
    chosen = " chosen" if candidate.id in trace.chosen else ""
    head = " ".join(f"<span>{one}</span>" for one in facts if one)
    return f'<article class="card{chosen}"{marks}><header>{head}</header><p>{text}</p></article>'


def _compared(best: str, text: str) -> str:
    tags = {"same": "{}", "first": "<del>{}</del>", "second": "<ins>{}</ins>"}
    return " ".join(tags[run.where].format(escape(run.words)) for run in differences(best, text))


def _gridded(trace: Trace) -> bool:
    return "scene" in trace.question.meta or trace.question.source in ("tabletop", "ask")


def _picture(trace: Trace, named: set[str]) -> str:
    if not trace.question.images:
        return "<div class=facts>a question without a picture</div>"
    path = trace.question.images[0]
    if not path.is_file():
        return f"<div class='facts warn'>the picture {escape(str(path))} is not there any more</div>"
    picture = load_picture(path).convert("RGB")
    picture.thumbnail((_WIDEST, _WIDEST), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, format="PNG" if picture.width <= 256 else "JPEG")
    kind = "png" if picture.width <= 256 else "jpeg"
    data = base64.b64encode(stream.getvalue()).decode()
    cells = "".join(
        f'<rect id="cell-{column}{row + 1}" class="cell{" named" if f"{column}{row + 1}" in named else ""}" '
        f'x="{place}" y="{row}" width="1" height="1"><title>{column}{row + 1}</title></rect>'
        for row in range(7)
        for place, column in enumerate("ABCDEFG")
    )
    grid = f'<svg viewBox="0 0 7 7" preserveAspectRatio="none" aria-hidden="true">{cells}</svg>' if named else ""
    return f'<div class=picture><img alt="the picture asked about" src="data:image/{kind};base64,{data}">{grid}</div>'


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
