"""A search drawn in the terminal: the answer, what was tried and dropped, and what it cost.

Every function returns lines that stand on their own without colour, so that the same report reads well in a pipe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from stepsight.records import Candidate, Finish, Trace, Usage, Verdict
from stepsight.reports.differences import differences, shortened
from stepsight.stages import Stage, StageStream

INDENT = 4


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


def shown(text: str, *, unfinished: bool = False) -> str:
    """A model's text made fit for a terminal: no stage tags, no control characters, no outer white space.

    Of an `unfinished` text the beginning of a tag at its end is held back too.
    """
    stream = StageStream()
    events = [*stream.feed(text), *(() if unfinished else stream.finish())]
    words = " ".join(event.text for event in events if event.kind == "text")
    return "".join(sign for sign in words if sign in "\n\t" or sign.isprintable()).strip()


def stage_block(stage: Stage, text: str) -> RenderableType:
    """One finished stage: its name, then its text."""
    return Group(Text(stage.value, style="bold cyan"), Padding(Text(shown(text)), (0, 0, 0, INDENT)), Text())


def answer_panel(conclusion: str | None) -> RenderableType:
    """The answer, large; or, in red, that there is none."""
    if conclusion is None:
        return Panel(Text("no conclusion was written", style="bold red"), title="answer", box=ROUNDED, expand=False)
    text = Text(shown(conclusion), style="bold", justify="center")
    return Panel(text, title="answer", box=ROUNDED, border_style="green", padding=(1, 6), expand=False)


def cost_line(usage: Usage, seconds: float, *, loading: str = "") -> Text:
    """Seconds and tokens on one line; `loading` says what loading the model took, which is not part of the seconds."""
    parts = [
        f"{seconds:.1f} s",
        f"tokens: {usage.kept:,} kept, {usage.discarded:,} discarded, {usage.judge:,} judge, {usage.cached:,} cached",
    ]
    if loading:
        parts.append(loading)
    return Text(" · ".join(parts), style="dim")


def tried_report(trace: Trace, *, marks: bool) -> RenderableType | None:
    """What the search tried and dropped, verdict by verdict; None where there was nothing to choose from.

    Words that only the winner has and words that only the other candidate has are told apart by colour and, with
    `marks`, by the signs of word diffs: [-winner's-] {+candidate's+}.
    """
    if len(trace.candidates) == len(trace.chosen):
        return None
    by_id = {candidate.id: candidate for candidate in trace.candidates}
    chosen = set(trace.chosen)
    blocks: list[RenderableType] = [Text("what the search tried", style="bold"), Text()]
    seen: set[int] = set()
    for verdict in trace.verdicts:
        seen.update(verdict.order)
        blocks += _verdict_lines(verdict, [by_id[index] for index in verdict.order], chosen, marks)
        blocks.append(Text())
    unjudged = [candidate for candidate in trace.candidates if candidate.id not in seen and candidate.id not in chosen]
    if unjudged:
        blocks.append(Text("dropped without a verdict", style="bold cyan"))
        for candidate in unjudged:
            words = Text(" ".join(shown(candidate.piece.text).split()))
            blocks.append(_candidate_line(candidate, words, "", chosen=False))
        blocks.append(Text())
    return Group(*blocks)


def _verdict_lines(
    verdict: Verdict, candidates: Sequence[Candidate], chosen: set[int], marks: bool
) -> Iterator[RenderableType]:
    distinct = len({" ".join(shown(candidate.piece.text).split()) for candidate in candidates})
    facts = [f"{len(candidates)} candidates, {distinct} distinct"]
    if verdict.comparisons:
        facts.append(f"{len(verdict.comparisons)} comparisons: {verdict.ties} ties, {verdict.unreadable} unreadable")
    elif verdict.unreadable or verdict.ties:
        facts.append(f"{verdict.ties} ties, {verdict.unreadable} unreadable")
    head = Text(verdict.stage.value if verdict.stage else "WHOLE ANSWER", style="bold cyan")
    head.append(f"  {' · '.join([*facts, f'judge: {verdict.judge}'])}", style="not bold dim")
    yield head
    scores: Mapping[int, float] = dict(zip(verdict.order, verdict.scores or (), strict=False))
    first_with: dict[str, int] = {}
    for candidate in candidates:
        evidence = [str(tally(verdict, candidate.id)), *_remarks(verdict, candidate.id)]
        if candidate.id in scores:
            evidence.append(f"score {scores[candidate.id]:.2f}")
        words = " ".join(shown(candidate.piece.text).split())
        twin = first_with.setdefault(words, candidate.id)
        if twin != candidate.id:
            text = Text(f"the same words as #{twin}", style="dim")
        elif candidate is candidates[0]:
            text = Text(words)
        else:
            text = _marked(shown(candidates[0].piece.text), words, marks)
        yield _candidate_line(candidate, text, ", ".join(filter(None, evidence)), chosen=candidate.id in chosen)


def _remarks(verdict: Verdict, candidate: int) -> Iterator[str]:
    """What a judge noted about one candidate beside its comparisons."""
    malformed = verdict.evidence.get("malformed", {})
    if reason := malformed.get(str(candidate)):
        yield str(reason)
    screened = verdict.evidence.get("screen", {}).get(str(candidate))
    if screened and screened["readable"]:
        correct, incorrect = screened["logprobs"]
        yield "screened as correct" if correct > incorrect else "screened as incorrect"


def _candidate_line(candidate: Candidate, text: Text, evidence: str, *, chosen: bool) -> RenderableType:
    line = Text("✓ " if chosen else "✗ ", style="green" if chosen else "red")
    line.append(f"#{candidate.id}", style="bold default")
    if candidate.finish is not Finish.STOP:
        line.append("  cut off" if candidate.finish is Finish.LENGTH else "  failed", style="red")
    if evidence:
        line.append(f"  {evidence}", style="dim default")
    return Padding(Text.assemble(line, "  ", text), (0, 0, 0, INDENT - 2))


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
