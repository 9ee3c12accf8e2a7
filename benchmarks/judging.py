"""How often a model judges rightly, by kind of lesson, on fresh scenes: pairs in both orders, and the screen.

A pair counts as right if the better text is preferred in both orders; where the orders disagree it is a tie.

    python benchmarks/judging.py --count 200 --split test
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path

from stepsight.assembly import LoadedModel, ModelChoice, load_model
from stepsight.evaluation.statistics import wilson
from stepsight.prompts.judge import judge_prompts
from stepsight.protocols import ScoreRequest, Turn
from stepsight.world.lessons import Lesson, LessonKind, draw_lesson
from stepsight.world.split import save_picture

KINDS: tuple[LessonKind, ...] = ("summary", "caption", "reasoning", "conclusion", "whole", "screen")


def request(lesson: Lesson, options: tuple[str, str], path: Path) -> ScoreRequest:
    """What is asked; the picture goes by way of a file, as it does for users."""
    images: tuple[Path, ...] = ()
    if lesson.picture is not None:
        save_picture(lesson.picture, path)
        images = (path,)
    return ScoreRequest(turns=(Turn("user", lesson.user, images),), options=options)


def swapped(lesson: Lesson) -> Lesson:
    """The same pair in the other order."""
    parts = re.fullmatch(r"(.*[A-Z] 1\. )(.*)(\nCompare 2\. )(.*)", lesson.user, re.DOTALL)
    assert parts
    head, first, between, second = parts.groups()
    return replace(lesson, user=head + second + between + first)


def measure(loaded: LoadedModel, kind: LessonKind, count: int, split: str, folder: Path) -> dict[str, object]:
    prompts = judge_prompts(loaded.card.judge_prompts)
    options = prompts.screen_options if kind == "screen" else prompts.options
    lessons = [draw_lesson(kind, seed=60, index=index, prompts=prompts, split=split) for index in range(count)]
    requests = [request(lesson, options, folder / f"{kind}-{n}.png") for n, lesson in enumerate(lessons)]
    results = asyncio.run(loaded.engine.score(requests))
    picked = [result.logprobs[0] > result.logprobs[1] for result in results]
    right = [one == (lesson.spans[0].text == options[0]) for one, lesson in zip(picked, lessons, strict=True)]
    report: dict[str, object] = {"one_order": share(sum(right), count)}
    if kind != "screen":
        turned = [request(swapped(lesson), options, folder / f"{kind}-{n}.png") for n, lesson in enumerate(lessons)]
        again = [result.logprobs[0] > result.logprobs[1] for result in asyncio.run(loaded.engine.score(turned))]
        both = [one and pick != other for one, pick, other in zip(right, picked, again, strict=True)]
        ties = sum(pick == other for pick, other in zip(picked, again, strict=True))
        report |= {"both_orders": share(sum(both), count), "ties": ties}
    return report


def share(right: int, count: int) -> dict[str, object]:
    return wilson(right, count).model_dump()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pico")
    parser.add_argument("--split", default="test")
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    loaded = load_model(ModelChoice(arguments.model))
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            print(kind, json.dumps(measure(loaded, kind, arguments.count, arguments.split, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
