"""What pico learns from the world: staged answers, and verdicts on pairs and single reasonings.

Every lesson is one exchange in exactly the prompts that the engine and the self-judge send later. Judging lessons set a
true stage against one that `corruption` made wrong, or a less wrong one against a more wrong one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from PIL import Image

from stepsight.prompts.answer import question_text
from stepsight.prompts.judge import JudgePrompts, pair_turns, screen_turns, whole_text
from stepsight.prompts.tasks import DESCRIBE
from stepsight.records import Question
from stepsight.stages import SEPARATOR, Stage, render, render_stage
from stepsight.world.corruption import (
    EVERY_FAULT,
    Faults,
    corrupt_answer,
    corrupt_options,
    corrupt_program,
    corrupt_things,
    corrupt_walk,
    muddle_things,
    muddle_walk,
)
from stepsight.world.drawing import draw_picture
from stepsight.world.marking import Mark, mark_caption, mark_reasoning
from stepsight.world.split import Posed, pose
from stepsight.world.spoiling import letter_of
from stepsight.world.teacher import write_caption, write_reasoning, write_summary
from stepsight.world.walks import Unanswerable, walk

LessonKind = Literal[
    "describe", "told", "answer", "look", "read", "summary", "caption", "reasoning", "conclusion", "whole", "screen"
]
"""`describe`: what a picture shows, without a question and without tags. `told`: a question about a picture that is
told in words instead of shown, answered without tags: at once, or reasoning first. `answer`: four stages about a
picture. `look`: the same up to CAPTION. `read`: the same without a picture, the caption given. Then pairs of one stage
each, pairs of whole answers, and the correctness screen."""

ANSWERING: tuple[LessonKind, ...] = ("describe", "told", "answer", "look", "read")
"""The lessons that are not about judging."""
OPTIONS_WALK = re.compile(r"( A\. \S+ (?:yes|no)(?:, [A-Z]\. \S+ (?:yes|no))*)(?=\. That is option)")
"""Where REASONING goes through the options; the space before it belongs to it."""


@dataclass(frozen=True)
class Span:
    """A stretch of assistant text and the weight of its loss; 0 means it is given, not learned."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Lesson:
    """One exchange: what the user sends, with or without a picture, and what the assistant says.

    `marks` say of words of a judged text, by their place in `user`, whether they are right.
    """

    user: str
    picture: Image.Image | None
    spans: tuple[Span, ...]
    marks: tuple[Mark, ...] = ()


def draw_lesson(
    kind: LessonKind,
    *,
    seed: int,
    index: int,
    prompts: JudgePrompts,
    split: str = "train",
    verdict_weight: float = 8.0,
    option_weight: float = 1.0,
    muddled: float = 0.0,
    crowded: float = 0.0,
    faults: Faults = EVERY_FAULT,
) -> Lesson:
    """Lesson number `index` of a kind under a seed; the same for ever.

    Args:
        kind: what is taught.
        seed: run seed.
        index: which lesson.
        prompts: the judge's prompt set that the model will be asked with.
        split: where scenes come from.
        verdict_weight: weight of a verdict's single token against 1 for a token of an answer.
        option_weight: weight of each token where REASONING goes through the options.
        muddled: in this share of judging lessons a text is not wrong in one place but in many.
        crowded: in this share of judging lessons the scene is among those with the most objects, so texts are long.
        faults: how a text of a judging lesson goes wrong, where it is not muddled.
    """
    full = kind not in ANSWERING and random.Random(f"crowded:{seed}:{index}").random() < crowded
    posed = pose(split, seed=seed, index=index, crowded=full)
    rng = random.Random(f"lesson:{kind}:{seed}:{index}")
    question = posed.question()
    if kind == "describe":
        return Lesson(DESCRIBE, draw_picture(posed.scene), (Span(posed.stages[Stage.CAPTION]),))
    if kind == "told":
        told = f"{posed.stages[Stage.CAPTION]}{SEPARATOR}{question_text(question)}"
        said = (Stage.CONCLUSION,) if rng.random() < 0.5 else (Stage.REASONING, Stage.CONCLUSION)
        return Lesson(told, None, (Span(SEPARATOR.join(posed.stages[stage] for stage in said)),))
    if kind == "answer":
        return Lesson(question_text(question), draw_picture(posed.scene), _spans(posed.stages, option_weight))
    if kind == "look":
        seen = {stage: posed.stages[stage] for stage in (Stage.SUMMARY, Stage.CAPTION)}
        # The empty end is given: that the turn is over after CAPTION is not to be learned.
        return Lesson(question_text(question), draw_picture(posed.scene), (*_spans(seen, 1.0), Span("", 0.0)))
    if kind == "read":
        stages = _mistaken(rng, posed, 0.5).stages
        return Lesson(question_text(question), None, _spans(stages, option_weight, given=Stage.CAPTION))
    if kind == "screen":
        return _screen(rng, _mistaken(rng, posed, 0.3, faults), question, prompts, verdict_weight, muddled, faults)
    if kind in ("reasoning", "conclusion"):
        posed = _mistaken(rng, posed, 0.3, faults)
    stage = None if kind == "whole" else Stage(kind.upper())
    better, worse, hints = _pair(rng, posed, kind, prompts, faults)
    if kind in ("caption", "reasoning") and rng.random() < muddled:
        better, worse = _muddled_pair(rng, posed, Stage(kind.upper()))
    first = rng.random() < 0.5
    texts = (better, worse) if first else (worse, better)
    (turn,) = pair_turns(prompts, question, stage, hints, *texts)
    label = prompts.options[0] if first else prompts.options[1]
    marks = _mark_pair(posed, stage, turn.text, texts)
    return Lesson(turn.text, draw_picture(posed.scene), (Span(label, verdict_weight),), marks)


def _mark_pair(posed: Posed, stage: Stage | None, user: str, texts: tuple[str, str]) -> tuple[Mark, ...]:
    """Marks on both texts of a pair, which end the prompt one after the other."""
    if not user.endswith(texts[1]):
        return ()
    second = len(user) - len(texts[1])
    first = user.rindex(texts[0], 0, second)
    marks: list[Mark] = []
    for start, text in ((first, texts[0]), (second, texts[1])):
        marks += [mark.moved(start) for mark in _mark(posed, stage, text)]
    return tuple(marks)


def _mark(posed: Posed, stage: Stage | None, text: str) -> list[Mark]:
    asked = posed.asked
    if stage is None:
        # As `whole_text` joins them: a caption is one sentence, a conclusion one word.
        seen, said = text.index(".") + 1, text.rindex(" ") + 1
        return [
            *_mark(posed, Stage.CAPTION, text[:seen]),
            *(mark.moved(seen) for mark in _mark(posed, Stage.REASONING, text[seen : said - 1])),
            *(mark.moved(said) for mark in _mark(posed, Stage.CONCLUSION, text[said:])),
        ]
    if stage is Stage.CAPTION:
        return mark_caption(posed.things, text)
    if stage is Stage.REASONING:
        return mark_reasoning(asked.program, posed.things, text, asked.choices)
    if stage is Stage.CONCLUSION:
        return [Mark(0, len(text), text == posed.stages[stage])]
    return [Mark(len(text) - 1, len(text), text == posed.stages[stage])]


def _mistaken(rng: random.Random, posed: Posed, share: float, faults: Faults = EVERY_FAULT) -> Posed:
    """In this share of cases what holds of a wrong CAPTION: REASONING must follow the caption, not the picture."""
    if rng.random() >= share:
        return posed
    things = corrupt_things(rng, posed.things, rng.choice((1, 1, 2)), faults)
    asked = posed.asked
    try:
        way = walk(asked.program, things)
    except Unanswerable:
        return posed
    letter = letter_of(way.answer, posed.asked.choices)
    if asked.choices and not letter:
        return posed
    stages = {
        Stage.SUMMARY: posed.stages[Stage.SUMMARY],
        Stage.CAPTION: write_caption(rng, things),
        Stage.REASONING: write_reasoning(asked.program, way, letter, asked.choices),
        Stage.CONCLUSION: letter or way.answer,
    }
    answered = replace(asked, answer=stages[Stage.CONCLUSION])
    return replace(posed, things=things, asked=answered, stages=stages)


def _spans(stages: Mapping[Stage, str], option_weight: float, given: Stage | None = None) -> tuple[Span, ...]:
    """The answer in spans: `given` is not learned, and going through the options weighs `option_weight`."""
    spans = []
    for number, (stage, text) in enumerate(stages.items()):
        written = (SEPARATOR if number else "") + render_stage(stage, text)
        if stage is Stage.REASONING and option_weight != 1.0:
            pieces = OPTIONS_WALK.split(written)
            spans += [Span(piece, option_weight if place % 2 else 1.0) for place, piece in enumerate(pieces) if piece]
        else:
            spans.append(Span(written, 0.0 if stage is given else 1.0))
    return tuple(spans)


def _wrong_reasoning(rng: random.Random, posed: Posed, faults: Faults) -> tuple[str, str]:
    """A wrong REASONING over the true caption, and the conclusion it leads to."""
    program = posed.asked.program
    if posed.asked.choices and faults.options and rng.random() < faults.options:
        way = walk(program, posed.things)
        letter, read = corrupt_options(rng, way.answer, posed.asked.choices)
        return write_reasoning(program, way, letter, read), letter
    while True:
        way = corrupt_walk(rng, program, walk(program, posed.things), posed.things)
        letter = letter_of(way.answer, posed.asked.choices)
        if posed.asked.choices and not letter:
            letter = corrupt_answer(rng, program, posed.asked.answer, posed.asked.choices)
        text = write_reasoning(program, way, letter, posed.asked.choices)
        if text != posed.stages[Stage.REASONING]:
            return text, letter or way.answer


def _muddled(rng: random.Random, posed: Posed, stage: Stage, share: float) -> tuple[str, int]:
    """CAPTION or REASONING with many faults, and how many of its words are wrong."""
    if stage is Stage.CAPTION:
        text = write_caption(rng, muddle_things(rng, posed.things, share))
    else:
        program, choices = posed.asked.program, posed.asked.choices
        way = muddle_walk(rng, program, walk(program, posed.things), share)
        letter = letter_of(way.answer, posed.asked.choices) or (
            rng.choice("ABCDEFGH"[: len(choices)]) if choices else ""
        )
        text = write_reasoning(program, way, letter, choices)
    return text, sum(not mark.right for mark in _mark(posed, stage, text))


def _muddled_pair(rng: random.Random, posed: Posed, stage: Stage) -> tuple[str, str]:
    """Two texts of which the second has more wrong words; the first may be true."""
    while True:
        share = rng.choice((0.0, 0.0, 0.05, 0.15))
        better, few = _muddled(rng, posed, stage, share) if share else (posed.stages[stage], 0)
        worse, many = _muddled(rng, posed, stage, share + rng.choice((0.1, 0.25, 0.5)))
        if few < many:
            return better, worse


def _screen(
    rng: random.Random,
    posed: Posed,
    question: Question,
    prompts: JudgePrompts,
    weight: float,
    muddled: float,
    faults: Faults,
) -> Lesson:
    right = rng.random() < 0.5
    if right:
        reasoning = posed.stages[Stage.REASONING]
    elif rng.random() < muddled:
        reasoning = _muddled_pair(rng, posed, Stage.REASONING)[1]
    else:
        reasoning = _wrong_reasoning(rng, posed, faults)[0]
    (turn,) = screen_turns(prompts, question, posed.stages[Stage.CAPTION], reasoning)
    label = prompts.screen_options[0] if right else prompts.screen_options[1]
    start = turn.text.rindex(reasoning)
    marks = tuple(mark.moved(start) for mark in _mark(posed, Stage.REASONING, reasoning))
    return Lesson(turn.text, None, (Span(label, weight),), marks)


def _pair(
    rng: random.Random, posed: Posed, kind: LessonKind, prompts: JudgePrompts, faults: Faults
) -> tuple[str, str, dict[Stage, str]]:
    """The better text, the worse one, and the stages chosen before."""
    stages, program = posed.stages, posed.asked.program
    if kind == "summary":
        return stages[Stage.SUMMARY], write_summary(rng, corrupt_program(rng, program)), {}
    if kind == "caption":
        errors, more = rng.choices(((0, 1), (0, 2), (1, 2)), (0.65, 0.15, 0.2))[0]
        better = corrupt_things(rng, posed.things, errors, faults)
        worse = corrupt_things(rng, posed.things if errors == 0 else better, more - errors, faults)
        hints = {Stage.SUMMARY: stages[Stage.SUMMARY]}
        if set(worse) == set(better):
            worse = corrupt_things(rng, posed.things, 2, faults)
        if errors and set(worse) == set(posed.things):
            better, worse = worse, better
        return write_caption(rng, better), write_caption(rng, worse), hints
    hints = {Stage.SUMMARY: stages[Stage.SUMMARY], Stage.CAPTION: stages[Stage.CAPTION]}
    if kind == "reasoning":
        return stages[Stage.REASONING], _wrong_reasoning(rng, posed, faults)[0], hints
    if kind == "conclusion":
        hints[Stage.REASONING] = stages[Stage.REASONING]
        asked = posed.asked
        return stages[Stage.CONCLUSION], corrupt_answer(rng, program, asked.answer, asked.choices), hints
    wrong = dict(stages)
    if rng.random() < 0.5:
        wrong[Stage.REASONING], wrong[Stage.CONCLUSION] = _wrong_reasoning(rng, posed, faults)
    else:
        wrong[Stage.CAPTION], wrong[Stage.REASONING], wrong[Stage.CONCLUSION] = _wrong_sight(rng, posed, faults)
    return whole_text(prompts, render(stages)), whole_text(prompts, render(wrong)), {}


def _wrong_sight(rng: random.Random, posed: Posed, faults: Faults) -> tuple[str, str, str]:
    """CAPTION with a fault, and the REASONING and CONCLUSION that follow from it."""
    for _ in range(20):
        wrong = _mistaken(rng, posed, 1.0, faults)
        if wrong is not posed:
            return wrong.stages[Stage.CAPTION], wrong.stages[Stage.REASONING], wrong.stages[Stage.CONCLUSION]
    reasoning, conclusion = _wrong_reasoning(rng, posed, faults)
    things = corrupt_things(rng, posed.things, 1, faults)
    return write_caption(rng, things), reasoning, conclusion
