"""Short ways to ask a reward model in tests."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from stepsight.protocols import Turn, ValueRequest, ValueResult
from stepsight.records import Piece
from stepsight.rewards import EndpointReward, ProcessReward
from stepsight.stages import STAGES, Stage, render


def asked(answer: str, question: str = "How many ?", images: tuple[Path, ...] = ()) -> ValueRequest:
    """A question, and an answer in one piece."""
    return ValueRequest((Turn("user", question, images),), (Piece(text=answer),))


async def values(model: EndpointReward | ProcessReward, *requests: ValueRequest) -> list[ValueResult]:
    """Ask, and let go of the event loop's connections: each test has a loop of its own."""
    try:
        return await model.value(requests)
    finally:
        await model.aclose()


def staged(*texts: str) -> str:
    """The first stages of an answer, with these texts."""
    named: dict[Stage, str] = dict(zip(STAGES, texts, strict=False))
    return render(named)


def striped(path: Path, width: int, height: int) -> Path:
    """A picture in which no two pixels of a row are alike."""
    picture = Image.new("RGB", (width, height))
    picture.putdata([(x * 4 % 256, y * 7 % 256, (x + 3 * y) % 256) for y in range(height) for x in range(width)])
    picture.save(path)
    return path
