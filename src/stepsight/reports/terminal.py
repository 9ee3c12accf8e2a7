"""A search drawn in the terminal: the answer, what was tried and dropped, and what it cost.

A report is made of lines with an indent. On a terminal they are coloured, and wrapped with the indent kept; in a pipe
each is one plain line, and nothing is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.box import ROUNDED
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from stepsight.records import Candidate, Finish, Trace, Usage, Verdict
from stepsight.reports.differences import differences, shortened
from stepsight.stages import Stage, StageStream

INDENT = 4
GIST = 160
"""So many characters of a chosen text are shown among the tried ones; the whole stands further up."""


class Line(NamedTuple):
    """A text with its distance from the left border."""

    text: Text
    indent: int = 0


def print_lines(console: Console, lines: Iterable[Line]) -> None:
    """Print lines: wrapped with their indent on a terminal, whole and plain elsewhere."""
    for line in lines:
        if console.is_terminal:
            console.print(Padding(line.text, (0, 0, 0, line.indent)))
        else:
            gap = " " * line.indent
            console.print(Text(gap + line.text.plain.replace("\n", f"\n{gap}") if line.text else ""), soft_wrap=True)


class Tally(NamedTuple):
    """How one candidate fared in the comparisons of a verdict."""

    wins: int
    ties: int
    losses: int
    unreadable: int

    def __str__(self) -> str:
        parts = [
            f"{count} {one if count == 1 else many}"
            for count, one, many in (
                (self.wins, "win", "wins"),
                (self.ties, "tie", "ties"),
                (self.losses, "loss", "losses"),
                (self.unreadable, "unreadable", "unreadable"),
            )
            if count
        ]
        return ", ".join(parts)


def tally(verdict: Verdict, candidate: int) -> Tally:
    """Count a candidate's wins, ties, losses and unreadable comparisons."""
    wins = ties = losses = unreadable = 0
    for comparison in verdict.comparisons:
        if candidate not in (comparison.first, comparison.second):
            continue
        won = "first" if candidate == comparison.first else "second"
        if comparison.outcome == "tie":
            ties += 1
        elif comparison.outcome == "unreadable":
            unreadable += 1
        elif comparison.outcome == won:
            wins += 1
        else:
            losses += 1
    return Tally(wins, ties, losses, unreadable)


def ending(candidate: Candidate) -> str:
    """How a candidate ended that did not end by itself."""
    if candidate.finish is Finish.LENGTH:
        return "cut off"
    return f"failed: {shown(candidate.reason)}" if candidate.reason else "failed"


def shown(text: str, *, unfinished: bool = False) -> str:
    """A model's text made fit for a terminal: no stage tags, no control characters, no outer white space.

    Of an `unfinished` text the beginning of a tag at its end is held back too.
    """
    stream = StageStream()
    events = [*stream.feed(text), *(() if unfinished else stream.finish())]
    words = " ".join(event.text for event in events if event.kind == "text")
    return "".join(sign for sign in words if sign in "\n\t" or sign.isprintable()).strip()


def stage_lines(stage: Stage, text: str) -> list[Line]:
    """One finished stage: its name, then its text."""
    return [Line(Text(stage.value, style="bold cyan")), Line(Text(shown(text)), INDENT), Line(Text())]


def print_answer(console: Console, conclusion: str | None) -> None:
    """The answer, large; or, in red, that there is none."""
    text = "no conclusion was written" if conclusion is None else shown(conclusion)
    if not console.is_terminal:
        console.print(Text(text if conclusion is None else f"answer: {text}"), soft_wrap=True)
        return
    body = Text(text, style="bold red" if conclusion is None else "bold", justify="center")
    colour = "red" if conclusion is None else "green"
    console.print(Panel(body, title="answer", box=ROUNDED, border_style=colour, padding=(1, 6), expand=False))


def cost_line(usage: Usage, seconds: float, *, loading: str = "") -> Line:
    """Seconds and tokens on one line; `loading` says what loading the model took, which is not part of the seconds."""
    parts = [
        f"{seconds:.1f} s",
        f"tokens: {usage.kept:,} kept, {usage.discarded:,} discarded, {usage.judge:,} judge, {usage.cached:,} cached",
    ]
    if loading:
        parts.append(loading)
    return Line(Text(" · ".join(parts), style="dim"))


def tried_lines(trace: Trace, *, marks: bool) -> list[Line]:
    """What the search tried and dropped, verdict by verdict; nothing where there was nothing to choose from.

    Words that only the winner has and words that only the other candidate has are told apart by colour and, with
    `marks`, by the signs of word diffs: [-winner's-] {+candidate's+}.
    """
    if len(trace.candidates) == len(trace.chosen):
        return []
    by_id = {candidate.id: candidate for candidate in trace.candidates}
    chosen = set(trace.chosen)
    lines = [Line(Text("what the search tried", style="bold")), Line(Text())]
    for verdict in trace.verdicts:
        lines += [*_verdict_lines(verdict, [by_id[index] for index in verdict.order], chosen, marks), Line(Text())]
    seen = chosen.union(*(verdict.order for verdict in trace.verdicts))
    unjudged = [candidate for candidate in trace.candidates if candidate.id not in seen]
    if unjudged:
        lines.append(Line(Text("dropped without a verdict", style="bold cyan")))
        lines += [_candidate_line([candidate], Text(_words(candidate)), "", chosen=False) for candidate in unjudged]
        lines.append(Line(Text()))
    return lines


def _verdict_lines(verdict: Verdict, candidates: Sequence[Candidate], chosen: set[int], marks: bool) -> Iterator[Line]:
    alike: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        alike.setdefault(_words(candidate), []).append(candidate)
    same = "all the same words" if len(alike) == 1 else f"{len(alike)} distinct"
    facts = [f"{_count(len(candidates), 'candidate')}, {same}"]
    if verdict.comparisons or verdict.ties or verdict.unreadable:
        facts += [_count(len(verdict.comparisons), "comparison")] if verdict.comparisons else []
        facts += [f"{_count(verdict.ties, 'tie')}, {verdict.unreadable} unreadable"]
    head = Text(verdict.stage.value if verdict.stage else "WHOLE ANSWER", style="bold cyan")
    head.append(f"  {' · '.join([*facts, f'judge: {verdict.judge}'])}", style="not bold dim default")
    yield Line(head)
    if len(alike) == 1 and not verdict.evidence.get("malformed"):
        return

    scores: Mapping[int, float] = dict(zip(verdict.order, verdict.scores or (), strict=False))
    winner = _words(candidates[0])
    for words, twins in alike.items():
        first = twins[0].id
        evidence = [*(str(tally(verdict, twin.id)) for twin in twins), *remarks(verdict, first)]
        if first in scores:
            evidence.append(f"score {scores[first]:.2f}")
        gist = words if len(words) <= GIST else f"{words[:GIST].rsplit(' ', 1)[0]} …"
        text = Text(gist) if words == winner else _marked(winner, words, marks)
        won = any(twin.id in chosen for twin in twins)
        yield _candidate_line(twins, text, ", ".join(filter(None, evidence)), chosen=won)


def _words(candidate: Candidate) -> str:
    return " ".join(shown(candidate.piece.text).split())


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def remarks(verdict: Verdict, candidate: int) -> Iterator[str]:
    """What a judge noted about one candidate beside its comparisons."""
    malformed = verdict.evidence.get("malformed", {})
    if reason := malformed.get(str(candidate)):
        yield str(reason)
    screened = verdict.evidence.get("screen", {}).get(str(candidate))
    if screened and screened["readable"]:
        correct, incorrect = screened["logprobs"]
        yield "screened as correct" if correct > incorrect else "screened as incorrect"


def _candidate_line(twins: Sequence[Candidate], text: Text, evidence: str, *, chosen: bool) -> Line:
    """One text, with the numbers of all candidates that wrote it."""
    line = Text("✓ " if chosen else "✗ ", style="green" if chosen else "red")
    line.append(" ".join(f"#{twin.id}" for twin in twins), style="bold default")
    if twins[0].finish is not Finish.STOP:
        line.append(f"  {ending(twins[0])}", style="red")
    if evidence:
        line.append(f"  {evidence}", style="dim default")
    return Line(Text.assemble(line, "  ", text), INDENT - 2)


def _marked(winner: str, other: str, marks: bool) -> Text:
    """The other candidate's words, with what it has and lacks against the winner."""
    text = Text()
    for where, words in shortened(differences(winner, other)):
        if where == "same":
            text.append(words, style="dim")
        elif where == "first":
            text.append(f"[-{words}-]" if marks else words, style="red strike")
        else:
            text.append(f"{{+{words}+}}" if marks else words, style="bold yellow")
        text.append(" ")
    text.rstrip()
    return text
