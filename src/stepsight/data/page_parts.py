"""Parts of the pages about datasets: tables, bars of lengths, pictures and their rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from stepsight.data.lengths import Spread
from stepsight.data.row_pictures import BadPicture, place_of
from stepsight.data.staged_rows import StagedRow
from stepsight.errors import PictureError
from stepsight.pages import picture_data
from stepsight.pictures import load_picture
from stepsight.stages import parse

STYLE = """:root { color-scheme: light dark; --ink: #1c1d21; --soft: #5d6370; --paper: #fff; --line: #d9dce2;
  --bar: #0b6496; --bad: #b3362c; --good: #17713f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e9ec; --soft: #a3a9b6; --paper: #16171a; --line: #363a42;
  --bar: #67b9e6; --bad: #f08a80; --good: #56c98c; } }
body { margin: 0 auto; padding: 1.5rem; max-width: 64rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; } .soft { color: var(--soft); }
.bad { color: var(--bad); } .good { color: var(--good); } .wide { overflow-x: auto; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; } td.number, th.number { text-align: right;
  white-space: nowrap; font-variant-numeric: tabular-nums; }
.spreads { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }
.spreads svg { width: 100%; height: auto; } rect { fill: var(--bar); } line { stroke: var(--line); }
text { fill: var(--soft); font-size: 9px; }
.example { display: grid; grid-template-columns: 12rem minmax(0, 1fr); gap: 1rem; border-top: 1px solid var(--line);
  padding: .8rem 0; } .example img { max-width: 100%; } .example p { margin: .3rem 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { .example { display: block; } }
"""
THUMBNAIL = 240
"""Pixels; examples are shown no larger, to keep the page small."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers stand to the right. Every cell is escaped."""
    body = "".join(f"<tr>{''.join(_cell('td', value) for value in row)}</tr>" for row in rows)
    return f"<div class=wide><table><tr>{''.join(_cell('th', name) for name in head)}</tr>{body}</table></div>"


def _cell(tag: str, value: object) -> str:
    if isinstance(value, int | float):
        return f"<{tag} class=number>{value:,}</{tag}>"
    return f"<{tag}>{escape(str(value))}</{tag}>"


def bars(name: str, spread: Spread) -> str:
    """The lengths of a stage as bars, with the numbers that say how they are spread."""
    width, height = 240, 80
    most = max(spread.bins)
    step = width / len(spread.bins)
    drawn = "".join(
        f'<rect x="{place * step:.1f}" y="{height - tall:.1f}" width="{max(step - 1, 1):.1f}" height="{tall:.1f}">'
        f"<title>{count:,}</title></rect>"
        for place, count in enumerate(spread.bins)
        if (tall := height * count / most)
    )
    said = f"{spread.count:,} texts of {spread.least:,} to {spread.most:,} words"
    return (
        f'<figure><figcaption><b>{escape(name)}</b></figcaption><svg viewBox="0 0 {width} {height + 2}" role="img" '
        f'aria-label="{escape(name)}: {said}">{drawn}<line x1="0" x2="{width}" y1="{height}" y2="{height}"/></svg>'
        f"<div class=soft>{said}<br>median {spread.middle:,.0f}, 5 % to 95 %: {spread.low:,} to {spread.high:,}</div>"
        "</figure>"
    )


def spreads(found: Iterable[tuple[str, Spread]]) -> str:
    """The lengths of all stages side by side."""
    return f"<div class=spreads>{''.join(bars(name, spread) for name, spread in found)}</div>"


def example(row: StagedRow, images: Path) -> str:
    """A row with its picture: every question, and every stage of every reply."""
    said = []
    for question, reply in row.exchanges:
        said.append(f"<p><b>{escape(question)}</b></p>")
        stages = parse(reply).stages
        said += [f"<p><span class=soft>{stage}</span> {escape(text)}</p>" for stage, text in stages.items()]
        if not stages:
            said.append(f"<p>{escape(reply)}</p>")
    caption = f"<div class=soft>{escape(row.image or 'no picture')}<br>row {escape(row.id)}</div>"
    return f"<div class=example><div>{_thumbnail(row, images)}{caption}</div><div>{''.join(said)}</div></div>"


def _thumbnail(row: StagedRow, images: Path) -> str:
    if row.image is None:
        return ""
    path = place_of(images, row.image)
    try:
        if isinstance(path, BadPicture):
            return "<p class=bad>not shown</p>"
        return f'<img alt="" src="{picture_data(load_picture(path), THUMBNAIL)}">'
    except PictureError:
        return "<p class=bad>it cannot be read</p>"
