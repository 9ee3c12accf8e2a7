"""A staged answer graded against the world: word by word, and stage by stage.

What a reward model learns from: at the end of each stage whether the stage is right where it stands, and on the way
there which words are. A REASONING is held against the CAPTION before it, wrong or not, as `truth.is_true` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from stepsight.records import Question
from stepsight.stages import STAGES, Stage
from stepsight.world.checker import check, follows, read_caption
from stepsight.world.marking import Mark, mark_caption, mark_reasoning
from stepsight.world.programs import Program, Seen, seen
from stepsight.world.scene import Scene
from stepsight.world.teacher import summaries


def grade(question: Question, answer: str) -> tuple[Mark, ...]:
    """Marks on words of a staged answer, and on the closing tag of each stage, by their place in `answer`.

    Nothing is said of what stands behind a CAPTION that cannot be read: nobody knows whether it follows.

    Args:
        question: of the world, with `scene` and `program` in its `meta`.
        answer: as written, tags included; it may end early.
    """
    program = Program.from_dict(question.meta["program"])
    things: tuple[Seen, ...] | None = seen(Scene.from_dict(question.meta["scene"]))
    marks: list[Mark] = []
    written: dict[Stage, str] = {}
    for stage in STAGES:
        found = re.search(rf"{re.escape(stage.open)}(.*?){re.escape(stage.close)}", answer, re.DOTALL)
        if found is None or things is None:
            break
        # Inside of white space, as `stages.parse` reads it.
        text, begin = found[1].strip(), found.start(1) + len(found[1]) - len(found[1].lstrip())
        written[stage] = text
        if stage is Stage.CAPTION:
            marks += (mark.moved(begin) for mark in mark_caption(things, text) if text)
            things = read_caption(text)
        elif stage is Stage.REASONING:
            marks += (mark.moved(begin) for mark in _reasoning(program, things, text, question))
        right = _is_right(question, program, stage, written)
        marks.append(Mark(found.end() - len(stage.close), found.end(), right, closes=True))
    return tuple(marks)


def _reasoning(program: Program, things: tuple[Seen, ...], text: str, question: Question) -> list[Mark]:
    try:
        return mark_reasoning(program, things, text, question.choices)
    except (ValueError, IndexError):
        # Marks read the teacher's own wording; of a text that strays from it only the end is graded.
        return []


def _is_right(question: Question, program: Program, stage: Stage, written: Mapping[Stage, str]) -> bool:
    text = written[stage]
    if stage is Stage.SUMMARY:
        return text in summaries(program)
    if stage is Stage.REASONING:
        return bool(follows(question, written[Stage.CAPTION], text))
    truth = check(question, {stage: text})
    return bool(truth.caption if stage is Stage.CAPTION else truth.conclusion)
