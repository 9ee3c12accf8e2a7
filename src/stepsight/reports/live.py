"""A search watched while it runs: the text being written below, finished stages above, for good.

Only what is still open is redrawn. A finished stage is printed once and scrolls like any other output, so a long answer
never flickers and nothing is lost when the window is small.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from stepsight.protocols import Event
from stepsight.records import Trace
from stepsight.reports.terminal import INDENT, Line, print_lines, shown, stage_lines
from stepsight.stages import Stage, StageStream


@dataclass
class _Writing:
    """One continuation on its way."""

    text: str = ""
    done: bool = False


def stages_so_far(text: str) -> dict[Stage, tuple[str, bool]]:
    """The stages that have begun in a text still being written: their text, and whether they are closed."""
    begun: dict[Stage, tuple[str, bool]] = {}
    for event in StageStream().feed(text):
        if event.stage is None:
            continue
        written, closed = begun.get(event.stage, ("", False))
        if event.kind == "text" and not closed:
            begun[event.stage] = (written + event.text, False)
        elif event.kind == "closed" and not closed:
            begun[event.stage] = (event.text, True)
        else:
            begun.setdefault(event.stage, (written, closed))
    return begun


class LiveSearch:
    """Draws the events of one search on a terminal; a context manager whose `watch` goes into the search settings.

    Events may come from any thread. On a console that is no terminal nothing is drawn until `finish`. With `single`
    the search writes one continuation at a time, which is the answer itself and is shown as such at once.
    """

    def __init__(self, console: Console, *, single: bool) -> None:
        self._console = console
        self._single = single
        self._live = Live(self, console=console, refresh_per_second=12, transient=True)
        # The refreshing thread holds rich's lock while it asks for this view, and printing takes rich's lock too. So
        # `_lock` guards the state and is never held while printing; `_printing` keeps what is printed in order.
        self._lock = threading.Lock()
        self._printing = threading.Lock()
        self._started = time.monotonic()
        self._spinner = Spinner("dots", style="cyan")
        self._doing = "reading the question"
        self._settled = ""
        self._stage: Stage | None = None
        self._writing: dict[int, _Writing] = {}
        self._printed: dict[Stage, str] = {}

    def __enter__(self) -> LiveSearch:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def doing(self, what: str) -> None:
        """Say what happens before the first event, such as loading a model."""
        with self._lock:
            self._doing = what

    def watch(self, event: Event) -> None:
        """Take in one event of the search."""
        with self._printing:
            with self._lock:
                self._take(event)
                closed = self._newly_closed(self._settled + self._only_text()) if self._console.is_terminal else []
            print_lines(self._console, closed)

    def finish(self, trace: Trace) -> None:
        """Print the stages of the answer that are not on the screen yet, or that a later round changed."""
        with self._printing:
            with self._lock:
                self._writing = {}
                self._settled = trace.text
                lines = self._newly_closed(trace.text)
            for stage, (text, closed) in stages_so_far(trace.text).items():
                if not closed:
                    lines += stage_lines(stage, text)
            print_lines(self._console, lines)

    def _take(self, event: Event) -> None:
        if event.kind == "stage_started":
            self._stage, self._writing = event.stage, {}
            self._doing = f"writing {event.stage.value}" if event.stage else "writing"
        elif event.kind == "text":
            self._writing.setdefault(event.slot, _Writing()).text += event.text
        elif event.kind == "candidate" and event.candidate is not None:
            self._writing[event.candidate.slot] = _Writing(event.candidate.piece.text, done=True)
            if len(self._writing) > 1 and all(writing.done for writing in self._writing.values()):
                self._doing = f"choosing among {len(self._writing)} candidates"
        elif event.kind == "stage_chosen" and event.candidate is not None:
            self._settled = event.answer
            self._writing = {}

    def _only_text(self) -> str:
        """The continuation being written, where there is only ever one."""
        return "".join(writing.text for writing in self._writing.values()) if self._single else ""

    def _newly_closed(self, text: str) -> list[Line]:
        lines: list[Line] = []
        for stage, (body, closed) in stages_so_far(text).items():
            if closed and self._printed.get(stage) != body:
                self._printed[stage] = body
                lines += stage_lines(stage, body)
        return lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            seconds = time.monotonic() - self._started
            self._spinner.update(text=Text(f"{self._doing}  {seconds:.0f} s", style="dim"))
            room = max(3, options.size.height - 4)
            draw = self._one_text if self._single or not self._writing else self._many_texts
            view = [*draw(console, options, room), self._spinner]
        yield from view

    def _one_text(self, console: Console, options: ConsoleOptions, room: int) -> RenderResult:
        """The stage being written; of a long one, its end."""
        begun = stages_so_far(self._settled + self._only_text())
        for stage, (body, closed) in begun.items():
            if not closed:
                yield Text(stage.value, style="bold cyan")
                lines = Text(shown(body)).wrap(console, options.max_width - INDENT)
                for line in lines[-room:]:
                    yield Text(" " * INDENT) + line

    def _many_texts(self, console: Console, options: ConsoleOptions, room: int) -> RenderResult:
        """All candidates of a stage, the end of each."""
        if self._stage is not None:
            yield Text(self._stage.value, style="bold cyan")
        each = max(1, min(3, room // len(self._writing)))
        for _, writing in sorted(self._writing.items())[:room]:
            mark = Text("● " if writing.done else "○ ", style="green" if writing.done else "yellow")
            lines = Text(" ".join(shown(writing.text, unfinished=True).split())).wrap(
                console, options.max_width - INDENT
            )
            for number, line in enumerate(lines[-each:]):
                yield (Text("  ") + mark if number == 0 else Text(" " * INDENT)) + line
