"""Where training runs stand, as a table: held-out loss and token accuracy by stage, and what became of answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from stepsight.reports.scores import interval
from stepsight.training.watching.curves import Run
from stepsight.training.watching.watched import ALL, PARTS, Answers, StageLosses, Watched


def curves_table(runs: Sequence[Run]) -> Table:
    """One column for each run, as it was when it was looked at last."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("at the last look")
    for run in runs:
        table.add_column(run.name, justify="right")
    last = [run.watched[-1] if run.watched else None for run in runs]
    table.add_row("step", *("none" if one is None else f"{one.step:,}" for one in last))
    for head, parts in (("loss", [ALL, *PARTS]), ("token accuracy", [ALL, *PARTS])):
        table.add_section()
        for part in parts:
            cells = [_measured(one, head, str(part)) for one in last]
            if any(cells):
                table.add_row(head if part == ALL else f"  {part}", *cells)
    table.add_section()
    for name, tell in _ANSWERS:
        cells = ["" if one is None or one.answers is None else tell(one.answers) for one in last]
        if any(cells):
            table.add_row(name, *cells)
    return table


def _measured(watched: Watched | None, what: str, part: str) -> str:
    losses: StageLosses | None = None if watched is None else watched.losses
    if losses is None:
        return ""
    if what == "loss":
        return f"{losses.loss[part]:.4f}" if part in losses.loss else ""
    return f"{losses.token_accuracy[part]:.1%}" if part in losses.token_accuracy else ""


def _faults(answers: Answers) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in answers.faults.items())


_ANSWERS: tuple[tuple[str, Callable[[Answers], str]], ...] = (
    ("accuracy (95 % interval)", lambda answers: interval(answers.accuracy)),
    ("accuracy, any format", lambda answers: interval(answers.accuracy_any_format)),
    ("format valid", lambda answers: interval(answers.format_valid)),
    ("caption true", lambda answers: interval(answers.caption_true) if answers.caption_true.n else ""),
    ("reasoning true", lambda answers: interval(answers.reasoning_true) if answers.reasoning_true.n else ""),
    ("questions asked", lambda answers: f"{answers.asked:,}"),
    ("cut at the most tokens", lambda answers: f"{answers.cut:,}"),
    ("faults", _faults),
)
