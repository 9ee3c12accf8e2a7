"""The live view: each finished stage is printed once, whatever the order and the cutting of events."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence

import pytest
from rich.console import Console
from tests.scripts import ANSWER, scripted_model, self_judge

from stepsight.protocols import Event, SearchSettings
from stepsight.records import Question, Trace
from stepsight.reports.live import LiveSearch, stages_so_far
from stepsight.search import strategy
from stepsight.stages import STAGES, Stage, render


async def events_of(name: str, width: int) -> tuple[list[Event], Trace]:
    events: list[Event] = []
    model = scripted_model()
    settings = SearchSettings(width=width, watch=events.append)
    judge = self_judge(model) if width > 1 else None
    trace = await strategy(name)(Question(id="q", text="How many?"), model.engine, judge, settings)
    return events, trace


def watched(events: Sequence[Event], trace: Trace, *, single: bool, terminal: bool) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal, color_system=None)
    live = LiveSearch(console, single=single)
    with live:
        for event in events:
            live.watch(event)
    live.finish(trace)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("name", "width"), [("greedy", 1), ("stage-beam", 1), ("stage-beam", 4), ("best-of-n", 3)])
async def test_a_pipe_gets_each_stage_once_and_in_order(name: str, width: int) -> None:
    events, trace = await events_of(name, width)
    text = watched(events, trace, single=width == 1, terminal=False)
    assert [line for line in text.splitlines() if line in set(STAGES)] == list(STAGES)
    assert [line.strip() for line in text.splitlines() if line.startswith("    ")] == list(ANSWER.values())


async def frames(name: str, width: int, upto: int) -> str:
    """What the live region shows after the first events."""
    events, _ = await events_of(name, width)
    console = Console(file=io.StringIO(), width=100, height=30, color_system=None)
    live = LiveSearch(console, single=width == 1)
    for event in events[:upto]:
        live.watch(event)
    console.print(live)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_candidates_are_shown_while_they_are_written() -> None:
    events, _ = await events_of("stage-beam", 3)
    start = next(place for place, event in enumerate(events) if event.stage is Stage.CAPTION)
    view = await frames("stage-beam", 3, start + 40)
    assert view.startswith("CAPTION\n")
    assert view.count("○ B2: small red") == 3
    assert "writing CAPTION" in view
    last_candidate = max(
        place for place, event in enumerate(events) if event.stage is Stage.CAPTION and event.kind == "candidate"
    )
    view = await frames("stage-beam", 3, last_candidate + 1)
    assert view.count("●") == 3
    assert "choosing among 3 candidates" in view


async def test_a_single_text_streams_without_half_tags() -> None:
    events, _ = await events_of("greedy", 1)
    for upto in range(len(events)):
        view = await frames("greedy", 1, upto)
        assert "<" not in view


async def test_a_terminal_keeps_every_finished_stage() -> None:
    events, trace = await events_of("stage-beam", 4)
    text = watched(events, trace, single=False, terminal=True)
    for body in ANSWER.values():
        assert f"    {body}" in text


async def test_the_view_can_be_redrawn_while_a_stage_is_printed() -> None:
    """Rich redraws from a thread of its own, under a lock that printing needs too: neither may wait for the other."""
    stuck: list[bool] = []

    class Redrawing(Console):
        def print(self, *objects: object, **options: object) -> None:
            redraw = threading.Thread(target=lambda: self.render_lines(live), daemon=True)
            redraw.start()
            redraw.join(5)
            stuck.append(redraw.is_alive())

    console = Redrawing(file=io.StringIO(), width=100, force_terminal=True)
    live = LiveSearch(console, single=True)
    events, trace = await events_of("greedy", 1)
    for event in events:
        live.watch(event)
    live.finish(trace)
    assert stuck
    assert not any(stuck)


async def test_a_stage_that_a_later_round_changed_is_printed_again() -> None:
    events, trace = await events_of("stage-beam", 2)
    changed = tuple(
        candidate.model_copy(
            update={"piece": candidate.piece.model_copy(update={"text": candidate.piece.text.replace("gray", "brown")})}
        )
        for candidate in trace.candidates
    )
    text = watched(events, trace.model_copy(update={"candidates": changed}), single=False, terminal=True)
    assert "gray rubber cylinder" in text
    assert "brown rubber cylinder" in text


async def test_an_unclosed_stage_is_shown_at_the_end() -> None:
    _, trace = await events_of("greedy", 1)
    whole = trace.candidates[0]
    cut = whole.model_copy(update={"piece": whole.piece.model_copy(update={"text": whole.piece.text[:160]})})
    text = watched([], trace.model_copy(update={"candidates": (cut,)}), single=True, terminal=False)
    assert "CAPTION" in text
    assert "CONCLUSION" not in text


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_stages_so_far_grow_with_the_text(cut: int) -> None:
    text = render(ANSWER)
    for stage, (body, closed) in stages_so_far(text[:cut]).items():
        assert ANSWER[stage].startswith(body.strip())
        assert closed == (stage.close in text[:cut])
