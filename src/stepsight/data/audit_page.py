"""An audit as one self-contained page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from stepsight.data.audit_report import MEANINGS, AuditReport, Kind
from stepsight.data.page_parts import STYLE, spreads, table
from stepsight.pages import whole_page

_SHOWN = 50
"""So many findings of each kind are listed; the JSON holds more."""


def audit_page(report: AuditReport) -> str:
    """The page: what is above what is allowed, the counts, the lengths, and the first findings of each kind."""
    return whole_page(f"Audit of {report.file}", "".join(_body(report)), style=STYLE)


def _body(report: AuditReport) -> Iterator[str]:
    yield f"<h1>Audit of {escape(report.file)}</h1>"
    yield f"<p>{report.rows:,} rows, {report.turns:,} turns, {report.pictures:,} pictures. "
    if report.clean:
        yield "<b class=good>Clean.</b></p>"
    else:
        names = ", ".join(report.above) or "benchmark rows that could not be compared"
        yield f"<b class=bad>More than is allowed: {escape(names)}.</b></p>"
    rows = [
        (kind.value, report.counts.get(kind, 0), f"{report.allowed[kind]:.1%}", MEANINGS[kind])
        for kind in Kind
        if report.counts.get(kind, 0)
    ]
    yield "<h2>Findings</h2>"
    yield table(("kind", "rows", "allowed", "what it means"), rows) if rows else "<p>None.</p>"
    if report.format_faults:
        yield "<h2>Faults of form</h2>" + table(("fault", "times"), report.format_faults.items())
    if report.benchmarks:
        yield "<h2>Benchmarks</h2>"
        yield table(
            ("file", "pictures", "rows not read", "the first of them"),
            ((one.name, one.pictures, len(one.unread), (*one.unread, "")[0]) for one in report.benchmarks),
        )
    yield "<h2>Sources</h2>" + table(("first folder of the picture", "rows"), report.sources.items())
    yield "<h2>Lengths of stages</h2>" + spreads(report.spreads.items())
    for kind in Kind:
        found = [finding for finding in report.findings if finding.kind is kind][:_SHOWN]
        if found:
            of = report.counts[kind]
            yield f"<h2>{escape(kind)}<span class=soft> the first {len(found):,}, of {of:,} rows</span></h2>"
            yield table(("line", "id", "what"), ((one.line, one.id, one.detail) for one in found))
