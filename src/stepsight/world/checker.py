"""The world's checker: says of each stage of an answer whether it is true, and what is wrong with it if not.

It reads the teacher's language, with white space, case and a few words of padding forgiven; what it cannot read is not
true. Nothing is compared with the teacher's own text: a caption is held against the scene, a reasoning is worked
through step by step.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from stepsight.records import Question
from stepsight.stages import Stage
from stepsight.world.programs import Program, Seen, seen
from stepsight.world.scene import COLORS, MATERIALS, SHAPES, SIZES, Scene
from stepsight.world.teacher import write_checks, write_options, write_place
from stepsight.world.walks import Check, Step, Unanswerable, count_up, walk


def _any(words: Sequence[str]) -> str:
    return f"({'|'.join(words)})"


THING = rf"([A-G][1-7])\s+{_any(SIZES)}\s+{_any(COLORS)}\s+{_any(MATERIALS)}\s+{_any(SHAPES)}"
_CAPTION = re.compile(rf"^[A-Z][A-Za-z ]*:?\s+{THING}(?:,\s*{THING})*\s*\.$")
ONE_THING = re.compile(THING)
STEP = re.compile(rf"{THING}:\s*([^.]*)\.")
OPTIONS = re.compile(r"(A\. \S+ (?:yes|no)(?:, [A-Z]\. \S+ (?:yes|no))*)\. That is option ([A-Z])\.")
_CHECK = re.compile(r"^(.+?)\s+(yes|no)$")
_TALLY = re.compile(r"^\d+(?:\s+and\s+\d+)*$")


@dataclass(frozen=True)
class Fault:
    """What is wrong, in one sentence; `step` counts a reasoning's steps from 0."""

    why: str
    step: int | None = None


@dataclass(frozen=True)
class Truth:
    """Whether each stage is true; None where that cannot be said (a missing stage, a question not of the world)."""

    caption: bool | None
    reasoning: bool | None
    conclusion: bool | None
    caption_faults: tuple[Fault, ...] = ()
    reasoning_faults: tuple[Fault, ...] = ()


def check(question: Question, stages: Mapping[Stage, str]) -> Truth:
    """Hold the stages of an answer against the scene of a world question.

    Args:
        question: as written by `stepsight draw`, with `scene` and `program` in its `meta`.
        stages: inner texts, as `stages.parse` gives them; absent stages give None.
    """
    if "scene" not in question.meta or "program" not in question.meta:
        return Truth(None, None, None)
    things = seen(Scene.from_dict(question.meta["scene"]))
    program = Program.from_dict(question.meta["program"])
    caption = stages.get(Stage.CAPTION)
    reasoning = stages.get(Stage.REASONING)
    conclusion = stages.get(Stage.CONCLUSION)
    caption_faults = () if caption is None else check_caption(things, caption)
    reasoning_faults = () if reasoning is None else check_reasoning(program, things, reasoning, question.choices)
    return Truth(
        caption=None if caption is None else not caption_faults,
        reasoning=None if reasoning is None else not reasoning_faults,
        conclusion=None if conclusion is None else _plain(conclusion) == _plain(question.answer or ""),
        caption_faults=caption_faults,
        reasoning_faults=reasoning_faults,
    )


def read_caption(caption: str) -> tuple[Seen, ...] | None:
    """The objects that a caption names, in its order; None if it cannot be read."""
    if not _CAPTION.match(caption.strip()):
        return None
    return tuple(Seen(*match.groups()) for match in ONE_THING.finditer(caption))


def check_caption(things: Sequence[Seen], caption: str) -> tuple[Fault, ...]:
    """Every fault of a caption: objects missed, invented, or described wrongly. The order of objects is free."""
    named = read_caption(caption)
    if named is None:
        return (Fault("the caption cannot be read as a list of objects"),)
    faults = []
    truth = {thing.cell: thing for thing in things}
    for place, thing in enumerate(named):
        if thing.cell in {earlier.cell for earlier in named[:place]}:
            faults.append(Fault(f"{thing.cell} is named twice"))
        elif thing.cell not in truth:
            faults.append(Fault(f"nothing stands at {thing.cell}"))
        elif thing != truth[thing.cell]:
            faults.append(Fault(f"{thing.words}: it is {truth[thing.cell].words}"))
    missed = [cell for cell in truth if cell not in {thing.cell for thing in named}]
    return (*faults, *(Fault(f"{truth[cell].words} is missing") for cell in missed))


def check_reasoning(
    program: Program, things: Sequence[Seen], reasoning: str, choices: Sequence[str] = ()
) -> tuple[Fault, ...]:
    """Every fault of a reasoning about a list of objects, step by step.

    `things` may be the scene's own, or those of a caption (is the reasoning right if the caption is?). Each object must
    be looked at once, in any order; every verdict, every running number and the end must be right.
    """
    try:
        truth = walk(program, things)
    except Unanswerable as reason:
        return (Fault(str(reason)),)
    finding, looking = split_finding(program, reasoning)
    first = [read_step(match) for match in STEP.finditer(finding)]
    faults = _check_steps(first, truth.finding, 0)
    matches = list(STEP.finditer(looking))
    if not matches:
        return (*faults, Fault("no step can be read"))
    steps = [read_step(match) for match in matches]
    faults += _check_place(program, looking[: matches[0].start()], truth.reference if truth.finding else None)
    faults += _check_steps(steps, truth.steps, len(first))
    width = len(truth.steps[0].conditions)
    counted_steps = count_up(program, steps) if all(len(step.conditions) == width for step in steps) else steps
    for number, (step, counted) in enumerate(zip(steps, counted_steps, strict=True), start=len(first)):
        if step.tally != counted.tally:
            faults.append(Fault(f"step {number + 1}: counts {step.tally}, not {counted.tally}", number))
    end = looking[matches[-1].end() :]
    return (*faults, *_check_end(program, steps, truth.answer, end, choices))


def follows(question: Question, caption: str, reasoning: str) -> bool | None:
    """Whether a REASONING follows from a CAPTION, be that true or not.

    None where that cannot be said: the CAPTION cannot be read, or the question is not of the world.
    """
    things = read_caption(caption)
    if things is None or "program" not in question.meta:
        return None
    return not check_reasoning(Program.from_dict(question.meta["program"]), things, reasoning, question.choices)


def split_finding(program: Program, reasoning: str) -> tuple[str, str]:
    """What finds the object that a spatial question looks from, and the rest; for other families all is the rest."""
    look = re.search(r"\bLook (left|right|behind|in front)\b", reasoning) if program.family == "spatial" else None
    return (reasoning[: look.start()], reasoning[look.start() :]) if look else ("", reasoning)


def _check_steps(steps: Sequence[Step], truth: Sequence[Step], offset: int) -> list[Fault]:
    """Every object that is looked at must be one of `truth`, once and rightly, and none may be left out."""
    right = {step.thing.cell: step for step in truth}
    faults: list[Fault] = []
    for number, step in enumerate(steps):
        faults += _check_step(number + offset, step, right, {earlier.thing.cell for earlier in steps[:number]})
    missed = [cell for cell in right if cell not in {step.thing.cell for step in steps}]
    return faults + [Fault(f"{right[cell].thing.words} is not looked at") for cell in missed]


def read_step(match: re.Match[str]) -> Step:
    """The step in a match whose groups are cell, size, color, material, shape and what is decided of the object."""
    *thing, decisions = match.groups()
    parts = [part.strip() for part in decisions.split(";")]
    numbers = tuple(int(number) for number in re.findall(r"\d+", parts.pop())) if _TALLY.match(parts[-1]) else ()
    return Step(Seen(*thing), tuple(tuple(_read_check(text) for text in part.split(",")) for part in parts), numbers)


def _read_check(text: str) -> Check:
    match = _CHECK.match(text.strip())
    return Check(match.group(1), match.group(2) == "yes") if match else Check(text.strip(), False)


def _check_place(program: Program, beginning: str, reference: Seen | None) -> list[Fault]:
    if reference is None or write_place(program, reference) in " ".join(beginning.split()):
        return []
    cells = sorted(set(re.findall(r"\b[A-G][1-7]\b", beginning)))
    return [Fault(f"it looks from {', '.join(cells) or 'nowhere'}, not {write_place(program, reference)}")]


def _check_step(number: int, step: Step, right: Mapping[str, Step], before: set[str]) -> list[Fault]:
    where = f"step {number + 1}: "
    if step.thing.cell in before:
        return [Fault(f"{where}{step.thing.cell} is looked at twice", number)]
    expected = right.get(step.thing.cell)
    if expected is None:
        return [Fault(f"{where}{step.thing.words} should not be looked at", number)]
    if step.thing != expected.thing:
        return [Fault(f"{where}{step.thing.words}: it is {expected.thing.words}", number)]
    if step.conditions != expected.conditions:
        return [Fault(f"{where}{step.thing.words}: {write_checks(expected)}, not {write_checks(step)}", number)]
    return []


def _check_end(
    program: Program, steps: Sequence[Step], answer: str, end: str, choices: Sequence[str]
) -> tuple[Fault, ...]:
    """The last sentences: they must state the right answer, a right sum, a right comparison and the right letter."""
    faults = []
    options = OPTIONS.search(end)
    if choices:
        faults += _check_options(options, answer, choices)
    said = end[: options.start()] if options else end
    numbers = re.findall(r"\d+", said)
    if program.family in ("exist", "compare"):
        words = re.findall(r"\b(yes|no)\b", said)
        if words[-1:] != [answer]:
            faults.append(Fault(f"it ends with {words[-1] if words else 'nothing'}, not {answer}"))
    elif program.family == "attribute":
        if not re.search(rf"\b{answer}\b", said):
            faults.append(Fault(f"it does not end with {answer}"))
    elif numbers[-1:] != [answer]:
        faults.append(Fault(f"it ends with {numbers[-1] if numbers else 'nothing'}, not {answer}"))
    counted = [str(number) for number in steps[-1].tally]
    if program.family == "compare" and numbers != counted:
        faults.append(Fault(f"it compares {' and '.join(numbers)}, not {' and '.join(counted)}"))
    return tuple(faults)


def _check_options(options: re.Match[str] | None, answer: str, choices: Sequence[str]) -> list[Fault]:
    """The options must be gone through up to the right one, and that one be named."""
    if answer not in choices:
        return [Fault(f"{answer} is not among the choices")]
    right = ascii_uppercase[list(choices).index(answer)]
    if options is None:
        return [Fault(f"the option is {right}, and none is named")]
    faults = []
    if " ".join(options.group(1).split()) != write_options(right, choices).rstrip("."):
        faults.append(Fault(f"the options are {write_options(right, choices)}"))
    if options.group(2) != right:
        faults.append(Fault(f"the option is {right}, not {options.group(2)}"))
    return faults


def _plain(text: str) -> str:
    return text.strip().strip(".").casefold()
