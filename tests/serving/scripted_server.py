"""`stepsight serve` with the scripted model, for the tests of its page; run as a program.

A stage is not written before a file of its name lies in the folder that GATE names, if it names one. Asked
"Fail at STAGE", the model fails when it comes there; asked for HTML, it writes some.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stepsight.assembly import LoadedModel
from stepsight.cli.app import run
from stepsight.engines.scripted import ScriptedEngine
from stepsight.errors import EngineError
from stepsight.model_folders import ModelCard
from stepsight.protocols import Capabilities, OnText, SampleRequest, SampleResult, ScoreRequest, ScoreResult
from stepsight.stages import STAGES
from stepsight.testing.model import rated, written

HTML = '<img src="/nothing.png" onerror="document.title=1"><b id="bold">B2</b>'


def said(request: SampleRequest, slot: int, seed: int) -> str:
    """What the model writes."""
    text = written(request, slot, seed)
    return text.replace("B2", HTML) if "HTML" in request.turns[-1].text else text


@dataclass
class Gated:
    """The scripted engine, writing no stage before it may."""

    gate: Path | None
    engine: ScriptedEngine = field(default_factory=lambda: ScriptedEngine(said, scores=rated))
    name: str = "scripted"

    @property
    def capabilities(self) -> Capabilities:
        return self.engine.capabilities

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        begun = "".join(piece.text for piece in request.prefix)
        stage = STAGES[sum(stage.close in begun for stage in STAGES)]
        if f"Fail at {stage.value}" in request.turns[-1].text:
            raise EngineError("the engine has lost its device")
        while self.gate is not None and not (self.gate / stage.value).exists():
            await asyncio.sleep(0.02)
        return await self.engine.sample(request, on_text)

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        return await self.engine.score(requests)


if __name__ == "__main__":
    engine = Gated(Path(os.environ["GATE"]) if "GATE" in os.environ else None)
    loaded = LoadedModel(engine, ModelCard(name="scripted", judge_prompts="short-2"))
    sys.exit(run(["serve", *sys.argv[1:]], model=loaded))
