"""A study as a table: in the terminal, and as Markdown for a page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from stepsight.evaluation.statistics import Share, Span
from stepsight.study.results import StudyResult

HEADS = (
    "search",
    "accuracy",
    "captions true",
    "reasonings true",
    "tokens",
    "of them generated",
    "seconds",
    "differences, in points",
)
CLAIMS = ("claim", "difference, in points", "tokens", "what the interval says")


def study_table(result: StudyResult) -> Table:
    """One row for each arm."""
    return _table(HEADS, _rows(result))


def claims_table(result: StudyResult) -> Table:
    """One row for each claim that was tested."""
    return _table(CLAIMS, _claims(result))


def _table(heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if 0 < place < len(heads) - 1 else "left")
    for row in rows:
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
    lines = [study_heading(result), "", *_lines(HEADS, _rows(result))]
    if result.claims:
        lines += ["", *_lines(CLAIMS, _claims(result))]
    return "\n".join(lines) + "\n"


def _lines(heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> list[str]:
    cells = [" | ".join(cell.replace("\n", "<br>") for cell in row) for row in rows]
    return [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *(f"| {row} |" for row in cells)]


def _claims(result: StudyResult) -> list[tuple[str, ...]]:
    return [
        (
            f"{claim.above} above {claim.below}",
            points(claim.difference),
            f"{claim.tokens_above:,.0f} and {claim.tokens_below:,.0f}",
            claim.verdict,
        )
        for claim in result.claims
    ]


def _rows(result: StudyResult) -> list[tuple[str, ...]]:
    return [
        (
            arm.name,
            percent(arm.accuracy),
            percent(arm.captions),
            percent(arm.reasonings),
            f"{arm.tokens:,.0f}",
            f"{arm.generated:,.0f}",
            "derived" if arm.seconds is None else f"{arm.seconds:.2f}",
            "\n".join(f"to {other}: {points(span)}" for other, span in arm.against.items()),
        )
        for arm in result.arms
    ]


def percent(span: Span | Share | None) -> str:
    """A share in percent with its interval, such as `61.5 % (59.9 to 63.1)`."""
    if span is None or span.value is None or span.low is None or span.high is None:
        return "none"
    return f"{100 * span.value:.1f} % ({100 * span.low:.1f} to {100 * span.high:.1f})"


def points(span: Span) -> str:
    """A difference of shares in points with its interval, such as `+1.6 (+0.5 to +2.7)`."""
    if span.value is None or span.low is None or span.high is None:
        return "none"
    return f"{100 * span.value:+.1f} ({100 * span.low:+.1f} to {100 * span.high:+.1f})"
