"""A model whose answers carry the mark of their picture, behind a real `stepsight serve`: who got whose answer shows.

    python -m stepsight.testing.marked --port 0 --max-searches 32

It prints the URL of its books (how many rows are in work, how much memory the process has), then that of the server.
Environment: MARKED_PAUSE is what a stage takes, in seconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from PIL import Image

from stepsight.assembly import LoadedModel
from stepsight.cli.app import run
from stepsight.engines.scripted import tokens_of
from stepsight.model_folders import ModelCard
from stepsight.protocols import (
    Capabilities,
    Completion,
    OnText,
    SampleRequest,
    SampleResult,
    ScoreRequest,
    ScoreResult,
)
from stepsight.records import Finish, Piece
from stepsight.serving.small_server import SmallServer, send
from stepsight.stages import SEPARATOR, STAGES, render_stage

PAUSE = "MARKED_PAUSE"


def mark_of(path: Path) -> str:
    """The mark of a picture: the colour of its first pixel, such as `#1f0a33`."""
    with Image.open(path) as picture:
        red, green, blue = picture.convert("RGB").getpixel((0, 0))  # type: ignore[misc]
    return f"#{red:02x}{green:02x}{blue:02x}"


class MarkedEngine:
    """Writes stages that say the mark; a sample, or a batch of scores, takes `pause` seconds. It keeps nothing.

    Attributes:
        rows: continuations in work; most_rows: the most there ever were; samples: how many were asked for.
    """

    def __init__(self, pause: float = 0.0) -> None:
        self.pause = pause
        self.rows = self.most_rows = self.samples = 0
        self.name = "marked"
        self.capabilities = Capabilities(prefix=True, logprobs=True, images=True, seeds=True)

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        """Write the next stage, or all that are left, once per seed."""
        count = len(request.seeds)
        self.rows += count
        self.most_rows = max(self.most_rows, self.rows)
        self.samples += 1
        try:
            await asyncio.sleep(self.pause)
            texts = [self._text(request, slot) for slot in range(count)]
        finally:
            self.rows -= count
        if on_text is not None:
            for slot, text in enumerate(texts):
                on_text(slot, text)
        done = tuple(Completion(Piece(text=text), Finish.STOP, len(tokens_of(text))) for text in texts)
        prompt = sum(len(tokens_of(turn.text)) + 64 * len(turn.images) for turn in request.turns)
        return SampleResult(done, computed=prompt, prompt=prompt)

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Prefer what stands first."""
        await asyncio.sleep(self.pause / 4)
        return [ScoreResult((-0.1, *(-3.0 for _ in request.options[1:])), computed=1) for request in requests]

    def _text(self, request: SampleRequest, slot: int) -> str:
        begun = "".join(piece.text for piece in request.prefix)
        left = STAGES[sum(stage.close in begun for stage in STAGES) :]
        pictures = [path for turn in request.turns for path in turn.images]
        mark = mark_of(pictures[-1]) if pictures else "no picture"
        texts = {stage: f"{stage.key} of {mark}, version {slot}" for stage in STAGES[:-1]} | {STAGES[-1]: mark}
        wanted = left if request.stop == (STAGES[-1].close,) else left[:1]
        return (SEPARATOR if begun else "") + SEPARATOR.join(render_stage(stage, texts[stage]) for stage in wanted)


class Books(SmallServer):
    """Says over HTTP what goes on in the process: rows in work, resident memory in bytes, seconds of the processor."""

    def __init__(self, engine: MarkedEngine) -> None:
        """Take the engine."""
        super().__init__()
        self._engine = engine

    def listed(self, handler: BaseHTTPRequestHandler) -> None:
        """All of it."""
        engine = self._engine
        rows = {"rows": engine.rows, "most_rows": engine.most_rows, "samples": engine.samples}
        send(handler, 200, {**rows, "resident": resident(), "cpu": time.process_time()})

    def posted(self, handler: BaseHTTPRequestHandler, payload: dict[str, Any]) -> None:
        """Nothing can be sent here."""
        send(handler, 405, {})


def resident() -> int:
    """Bytes of memory that this process has; 0 where the system does not say."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; takes the options of `stepsight serve`."""
    engine = MarkedEngine(float(os.environ.get(PAUSE, "0")))
    model = LoadedModel(engine, ModelCard(name="marked", judge_prompts="short-2"))
    with Books(engine) as books:
        sys.stdout.write(f"{books.url}\n")
        sys.stdout.flush()
        return run(["serve", *(sys.argv[1:] if arguments is None else arguments)], model=model)


if __name__ == "__main__":
    sys.exit(main())
