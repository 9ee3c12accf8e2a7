"""A study as a table: in the terminal, and as Markdown for a page."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from stepsight.evaluation.statistics import Span
from stepsight.study.results import StudyResult

HEADS = ("search", "accuracy", "tokens", "of them generated", "seconds", "differences, in points")


def study_table(result: StudyResult) -> Table:
    """One row for each arm."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, head in enumerate(HEADS):
        table.add_column(head, justify="right" if 0 < place < len(HEADS) - 1 else "left")
    for row in _rows(result):
        table.add_row(*row)
    return table


def study_heading(result: StudyResult) -> str:
    """What the figures are of, and what is in none of them."""
    seeds = ", ".join(map(str, result.seeds))
    missing = f" {result.left_out:,} more failed in some arm and are left out everywhere." if result.left_out else ""
    taken: dict[str, list[str]] = {}
    for arm in result.arms:
        if arm.derived:
            taken.setdefault(arm.derived, []).append(arm.name)
    derived = "".join(f" Derived from {whence}, not run: {', '.join(names)}." for whence, names in taken.items())
    return (
        f"{result.questions:,} questions, seeds {seeds}; 95 % intervals by bootstrap over questions.{missing}{derived}"
    )


def study_markdown(result: StudyResult) -> str:
    """The same as a Markdown table, with what it is of."""
    lines = [study_heading(result), ""]
    lines += [f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}"]
    lines += [f"| {' | '.join(cell.replace(chr(10), '<br>') for cell in row)} |" for row in _rows(result)]
    return "\n".join(lines) + "\n"


def _rows(result: StudyResult) -> list[tuple[str, ...]]:
    return [
        (
            arm.name,
            _percent(arm.accuracy),
            f"{arm.tokens:,.0f}",
            f"{arm.generated:,.0f}",
            "derived" if arm.seconds is None else f"{arm.seconds:.2f}",
            "\n".join(f"to {other}: {_points(span)}" for other, span in arm.against.items()),
        )
        for arm in result.arms
    ]


def _percent(span: Span) -> str:
    if span.value is None or span.low is None or span.high is None:
        return "none"
    return f"{100 * span.value:.1f} % ({100 * span.low:.1f} to {100 * span.high:.1f})"


def _points(span: Span) -> str:
    if span.value is None or span.low is None or span.high is None:
        return "none"
    return f"{100 * span.value:+.1f} ({100 * span.low:+.1f} to {100 * span.high:+.1f})"
