"""A search as a tree in the terminal: every candidate under the one it continues."""

from __future__ import annotations

from rich.text import Text
from rich.tree import Tree

from stepsight.records import Candidate, Finish, Trace, Verdict
from stepsight.reports.terminal import ending, shown, tally

_SHOWN = 100
"""Characters of a candidate's text."""


def tree_of(trace: Trace) -> Tree:
    """The candidates of a trace; those that wrote the same words behind the same line share a branch."""
    judged = {one: verdict for verdict in trace.verdicts if verdict.stage is not None for one in verdict.order}
    root = Tree(Text(shown(trace.question.text), style="bold"), guide_style="dim")
    _grow(root, trace, [None], judged)
    return root


def _grow(branch: Tree, trace: Trace, parents: list[int | None], judged: dict[int, Verdict]) -> None:
    alike: dict[str, list[Candidate]] = {}
    for candidate in trace.candidates:
        if candidate.parent in parents:
            alike.setdefault(" ".join(shown(candidate.piece.text).split()), []).append(candidate)
    # The chosen line comes first, as it is read first.
    order = sorted(alike.values(), key=lambda twins: (not any(twin.id in trace.chosen for twin in twins), twins[0].id))
    for twins in order:
        twig = branch.add(_line(trace, twins, judged))
        _grow(twig, trace, [twin.id for twin in twins], judged)


def _line(trace: Trace, twins: list[Candidate], judged: dict[int, Verdict]) -> Text:
    first = twins[0]
    chosen = any(twin.id in trace.chosen for twin in twins)
    line = Text("✓ " if chosen else "✗ ", style="green" if chosen else "red")
    line.append(f"{first.stage.value if first.stage else 'WHOLE ANSWER'} ", style="bold cyan" if chosen else "cyan")
    line.append(" ".join(f"#{twin.id}" for twin in twins), style="bold default")
    facts = [f"{sum(twin.tokens for twin in twins)} tokens"]
    verdict = judged.get(first.id)
    if verdict is not None:
        facts.append(str(tally(verdict, first.id)))
        if verdict.scores is not None:
            facts.append(f"score {verdict.scores[verdict.order.index(first.id)]:.2f}")
    if first.finish is not Finish.STOP:
        facts.append(ending(first))
    line.append(f"  {' · '.join(fact for fact in facts if fact)}  ", style="dim default")
    text = " ".join(shown(first.piece.text).split())
    line.append(text if len(text) <= _SHOWN else f"{text[:_SHOWN].rsplit(' ', 1)[0]} …", style="default")
    return line
