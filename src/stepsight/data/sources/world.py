"""The drawn world as a source: as many questions as are asked for, each with its picture, drawn while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stepsight.data.sources.reading import one_round
from stepsight.data.sources.source import Found, FoundFile, SetAside, Sourced
from stepsight.data.sources.wording import option_lines
from stepsight.world.drawing import draw_picture
from stepsight.world.split import pose, save_picture


@dataclass(frozen=True)
class World:
    """The first `count` questions of a split under a seed; pictures are written below the root and kept."""

    count: int = 1_000
    split: str = "train"
    seed: int = 0
    name: str = "world"
    licence: str = "Apache-2.0"
    homepage: str = "drawn by stepsight"
    paper_count: int | None = None

    @property
    def layout(self) -> str:
        """Which files are expected."""
        return "none: questions are drawn as they are asked for, pictures go to world/images"

    def find(self, root: Path) -> Found:
        """There is always as much as is asked for."""
        return Found((FoundFile(root / self.name, self.count),))

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each question; ids are the world's own."""
        for index in range(self.count):
            posed = pose(self.split, seed=self.seed, index=index)
            image = root / self.name / "images" / f"{posed.id}.png"
            if not image.exists():
                save_picture(draw_picture(posed.scene), image)
            question = posed.question((image,)).model_copy(update={"source": self.name})
            asked = "\n".join((question.text, *option_lines(question.choices)))
            yield Sourced(question=question, turns=one_round(asked, question.answer or ""))
