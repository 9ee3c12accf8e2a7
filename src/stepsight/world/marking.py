"""Marks on a judged text: word by word, whether what it says is right.

A verdict is a single token, and a small model does not learn to judge from it: after thousands of pairs it stays at
chance. Marks teach the way to the verdict: each cell, attribute, decision and number of both texts is right or wrong.
They are targets of training only; nothing of them is sent to or read from a model that judges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase

from stepsight.world.checker import ONE_THING, OPTIONS, STEP, read_step, split_finding
from stepsight.world.programs import Program, Seen
from stepsight.world.scene import CELLS
from stepsight.world.walks import Step, conditions_of, count_up, ends_at, examine, find_reference, follow


@dataclass(frozen=True)
class Mark:
    """Whether the word from character `start` to `end` is right; or, at its closing tag (`closes`), a whole stage."""

    start: int
    end: int
    right: bool
    closes: bool = False

    def moved(self, by: int) -> Mark:
        """The same mark in a longer text."""
        return replace(self, start=self.start + by, end=self.end + by)


def mark_caption(things: Sequence[Seen], text: str) -> list[Mark]:
    """Cells, attributes and the end of a caption; a left-out object makes the next cell, or the end, wrong."""
    truth = {thing.cell: thing for thing in things}
    marks: list[Mark] = []
    last = -1
    for match in ONE_THING.finditer(text):
        marks += _mark_thing(match, truth, last)
        last = CELLS.index(match.group(1))
    marks.append(Mark(len(text) - 1, len(text), _next_cell(truth, last) is None))
    return marks


def _next_cell(truth: dict[str, Seen], last: int) -> str | None:
    return next((cell for cell in CELLS[last + 1 :] if cell in truth), None)


def _mark_thing(match: re.Match[str], truth: dict[str, Seen], last: int) -> Iterator[Mark]:
    cell = match.group(1)
    yield Mark(*match.span(1), cell == _next_cell(truth, last))
    if cell in truth:
        thing = truth[cell]
        for number, value in enumerate((thing.size, thing.color, thing.material, thing.shape), start=2):
            yield Mark(*match.span(number), match.group(number) == value)


def mark_reasoning(program: Program, things: Sequence[Seen], text: str, choices: Sequence[str] = ()) -> list[Mark]:
    """Each step's object, decisions and running numbers, and the end.

    Decisions are held against the objects; numbers against what stands before them, so that one mistake is marked once.
    """
    finding, looking = split_finding(program, text)
    found, _ = _mark_steps(Program("exist", program.groups[-1:]), things, finding)
    looked, steps = _mark_steps(program, things, looking)
    looked += _mark_end(program, things, steps, looking, choices)
    return found + [mark.moved(len(finding)) for mark in looked]


def _mark_steps(program: Program, things: Sequence[Seen], text: str) -> tuple[list[Mark], list[Step]]:
    truth = {thing.cell: thing for thing in things}
    conditions = conditions_of(program, find_reference(program, things))
    marks: list[Mark] = []
    steps: list[Step] = []
    last = -1
    for match in STEP.finditer(text):
        marks += _mark_thing(match, truth, last)
        last = CELLS.index(match.group(1))
        step = read_step(match)
        thing = truth.get(step.thing.cell, step.thing)
        expected = [(check.word, check.holds) for terms in conditions for check in examine(terms, thing)]
        said = [(check.word, check.holds) for checks in step.conditions for check in checks]
        words = list(re.finditer(r"\b(yes|no)\b", match.group(6)))
        base = match.start(6)
        for number, word in enumerate(words[: len(said)]):
            right = number < len(expected) and said[number] == expected[number]
            marks.append(Mark(base + word.start(), base + word.end(), right))
        if step.tally and len(step.conditions) == len(conditions):
            before = steps[-1].tally if steps else (0,) * len(step.tally)
            (alone,) = count_up(program, [step])
            numbers = list(re.finditer(r"\d+", match.group(6)))[-len(step.tally) :]
            for place, found in enumerate(numbers):
                right = step.tally[place] == before[place] + alone.tally[place]
                marks.append(Mark(base + found.start(), base + found.end(), right))
        steps.append(step)
    return marks, steps


def _mark_end(
    program: Program, things: Sequence[Seen], steps: Sequence[Step], text: str, choices: Sequence[str]
) -> Iterator[Mark]:
    """That the walk ends where it may, the answer it comes to, and each option with the letter that is named."""
    if not steps:
        return
    end = text.index(".", text.index(steps[-1].thing.words + ":")) + 1
    options = OPTIONS.search(text, end)
    stop = options.start() if options else len(text)
    words = list(re.compile(r"\w+").finditer(text, end, stop))
    if not words:
        return
    left = _next_cell({thing.cell: thing for thing in things}, CELLS.index(steps[-1].thing.cell))
    yield Mark(*words[0].span(), left is None or ends_at(program, steps[-1]))
    said = words[-1]
    yield Mark(*said.span(), said.group() == follow(program, steps, None).answer)
    if options and said.group() in choices:
        place = list(choices).index(said.group())
        for number, word in enumerate(re.compile(r"\b(yes|no)\b").finditer(text, *options.span(1))):
            yield Mark(*word.span(), (word.group() == "yes") == (number == place))
        yield Mark(*options.span(2), options.group(2) == ascii_uppercase[place])
