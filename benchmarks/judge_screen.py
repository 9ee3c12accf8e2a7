"""How often pico screens a reasoning rightly, on fresh lessons of the world.

python benchmarks/judge_screen.py
"""

from __future__ import annotations

import asyncio
from typing import Literal

from stepsight.assembly import ModelChoice, load_model
from stepsight.evaluation.statistics import wilson
from stepsight.prompts.judge import judge_prompts
from stepsight.protocols import ScoreRequest, Turn
from stepsight.world.lessons import LessonKind, draw_lesson

COUNT = 200
KINDS: tuple[LessonKind, ...] = ("screen",)


def main() -> None:
    loaded = load_model(ModelChoice("pico"))
    prompts = judge_prompts(loaded.card.judge_prompts)
    for kind in KINDS:
        lessons = [draw_lesson(kind, seed=60, index=index, prompts=prompts, split="test") for index in range(COUNT)]
        options: tuple[Literal["yes"], Literal["no"]] = ("yes", "no")
        requests = [ScoreRequest(turns=(Turn("user", lesson.user),), options=options) for lesson in lessons]
        results = asyncio.run(loaded.engine.score(requests))
        right = sum(
            options[result.logprobs.index(max(result.logprobs))] == lesson.spans[0].text
            for lesson, result in zip(lessons, results, strict=True)
        )
        print(kind, wilson(right, COUNT))


if __name__ == "__main__":
    main()
