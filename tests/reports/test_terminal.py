"""What the terminal says of a search is what the trace holds, in a pipe as on a screen."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.scripts import scripted_model, self_judge

from stepsight.protocols import SearchSettings
from stepsight.records import Comparison, Finish, Question, Trace, Verdict
from stepsight.reports.terminal import Tally, print_answer, print_lines, shown, tally, tried_lines
from stepsight.search import strategy
from stepsight.stages import STAGES, Stage


def printed(trace: Trace, *, terminal: bool = False, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    print_lines(console, tried_lines(trace, marks=not terminal))
    print_answer(console, "1")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def searched(name: str, width: int) -> Trace:
    model = scripted_model()
    judge = self_judge(model) if width > 1 else None
    return await strategy(name)(Question(id="q", text="How many?"), model.engine, judge, SearchSettings(width=width))


async def test_every_candidate_of_every_differing_stage_is_shown_once() -> None:
    trace = await searched("stage-beam", 4)
    text = printed(trace)
    for candidate in trace.candidates:
        assert text.split().count(f"#{candidate.id}") == (candidate.stage is not Stage.SUMMARY)
    assert "SUMMARY  4 candidates, all the same words" in text
    assert "[-purple-] {+blue+}" in text
    assert "1 win" in text
    assert "1 loss" in text


async def test_a_pipe_gets_whole_lines_without_padding() -> None:
    text = printed(await searched("stage-beam", 4), width=40)
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    assert "B2: small red metal sphere. D4: large purple rubber cube. E6: small gray rubber cylinder." in text


async def test_a_terminal_gets_no_line_wider_than_it_is() -> None:
    text = printed(await searched("stage-beam", 4), width=40, terminal=True)
    assert max(len(line) for line in text.splitlines()) <= 40
    assert "[-" not in text
    assert "cylinder." in text


async def test_nothing_was_tried_where_there_was_no_choice() -> None:
    assert tried_lines(await searched("greedy", 1), marks=True) == []
    assert tried_lines(await searched("stage-beam", 1), marks=True) == []


async def test_what_the_judge_noted_is_shown() -> None:
    trace = await searched("stage-beam", 2)
    caption = next(verdict for verdict in trace.verdicts if verdict.stage is Stage.CAPTION)
    loser = caption.order[-1]
    cut = tuple(
        candidate.model_copy(update={"finish": Finish.LENGTH}) if candidate.id == loser else candidate
        for candidate in trace.candidates
    )
    noted = caption.model_copy(update={"evidence": {"malformed": {str(loser): "cut off by the limit"}}})
    verdicts = tuple(noted if verdict is caption else verdict for verdict in trace.verdicts)
    text = printed(trace.model_copy(update={"candidates": cut, "verdicts": verdicts}))
    assert f"✗ #{loser}  cut off" in text
    assert "cut off by the limit" in text


async def test_candidates_without_a_verdict_are_not_forgotten() -> None:
    trace = await searched("stage-beam", 2)
    text = printed(trace.model_copy(update={"verdicts": ()}))
    assert "dropped without a verdict" in text
    dropped = {candidate.id for candidate in trace.candidates} - set(trace.chosen)
    assert all(f"#{index} " in text for index in dropped)


def test_a_tally_counts_from_either_side() -> None:
    outcomes = [("first", 1, 2), ("second", 3, 1), ("tie", 1, 4), ("unreadable", 5, 1), ("second", 1, 6), ("tie", 2, 3)]
    comparisons = tuple(
        Comparison.model_validate({"first": first, "second": second, "outcome": outcome})
        for outcome, first, second in outcomes
    )
    verdict = Verdict(judge="self", stage=Stage.CAPTION, order=(1, 2, 3, 4, 5, 6), comparisons=comparisons)
    assert tally(verdict, 1) == Tally(wins=2, ties=1, losses=1, unreadable=1)
    assert str(tally(verdict, 1)) == "2 wins, 1 tie, 1 loss, 1 unreadable"
    assert str(tally(verdict, 2)) == "1 tie, 1 loss"


@given(st.text())
def test_nothing_that_a_model_writes_can_steer_the_terminal(text: str) -> None:
    safe = shown(f"<CAPTION> {text}\x1b[2J\x07\x9b </CAPTION>")
    assert all(sign in "\n\t" or sign.isprintable() for sign in safe)
    assert not any(tag in safe for stage in STAGES for tag in (stage.open, stage.close))


def test_markup_in_an_answer_is_only_text() -> None:
    console = Console(file=io.StringIO(), width=80)
    print_answer(console, "[red]5[/red] [-1-]")
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "answer: [red]5[/red] [-1-]\n"
