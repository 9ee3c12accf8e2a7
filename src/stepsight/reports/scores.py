"""An evaluation as tables in the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stepsight.evaluation.report import EvaluationReport
from stepsight.evaluation.statistics import PairedDifference, Share


def interval(share: Share) -> str:
    """A share in percent with its 95 % interval, such as `71.0 (61.5 to 79.0)`; the share of nothing is `none`."""
    if share.value is None or share.low is None or share.high is None:
        return "none"
    return f"{share.value:.1%} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def scores_table(report: EvaluationReport) -> RenderableType:
    """Every share with its interval and n, then what it cost."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(_title(report))
    table.add_column("share (95 % interval)", justify="right")
    table.add_column("n", justify="right")
    shares = {
        "accuracy": report.accuracy,
        "accuracy, any format": report.accuracy_any_format,
        "format valid": report.format_valid,
        "caption true": report.caption_true,
        "reasoning true": report.reasoning_true,
    }
    for name, share in shares.items():
        if share.n:
            table.add_row(name, interval(share), str(share.n), style="bold" if name == "accuracy" else "")
    if all(share.n for share in report.asked_as.values()):
        table.add_section()
        for name, share in report.asked_as.items():
            table.add_row(f"  {name}", interval(share), str(share.n), style="dim")
    if len(report.families) > 1:
        table.add_section()
        for name, share in report.families.items():
            table.add_row(f"  {name}", interval(share), str(share.n), style="dim")
    return Group(table, Text(), _cost(report))


def difference_line(difference: PairedDifference, other: str) -> Text:
    """A paired difference in points of accuracy, this run minus the `other`."""
    if difference.value is None or difference.low is None or difference.high is None:
        return Text(f"no difference to {other} can be told")
    return Text(
        f"this run minus {other}: {100 * difference.value:+.1f} points "
        f"({100 * difference.low:+.1f} to {100 * difference.high:+.1f}) on {difference.n} questions; "
        f"only this one right: {difference.only_first}, only the other: {difference.only_second}, "
        f"p = {difference.p:.3g}"
    )


def _title(report: EvaluationReport) -> str:
    width = report.settings.get("width", 1)
    judge = f", judge {report.judge}" if report.judge else ""
    return f"{report.strategy}, width {width}{judge}, seed {report.seed}"


def _cost(report: EvaluationReport) -> Text:
    parts = [f"{report.questions} questions in {report.seconds.wall:.1f} s"]
    if report.resumed:
        parts.append(f"{report.resumed} of them from an earlier session")
    if mean := report.usage.mean:
        parts.append(
            "tokens per question: " + ", ".join(f"{count:,.0f} {name}" for name, count in mean.items() if count >= 0.5)
        )
    if report.judging.comparisons:
        judging = report.judging
        parts.append(f"{judging.comparisons} comparisons: {judging.ties} ties, {judging.unreadable} unreadable")
    if report.faults:
        parts.append("faults: " + ", ".join(f"{count} {name}" for name, count in report.faults.items()))
    return Text(" · ".join(parts), style="dim")
