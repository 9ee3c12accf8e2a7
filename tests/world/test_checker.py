"""The checker believes the teacher, finds every corruption, and names the step at which a reasoning goes wrong."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache

import pytest

from stepsight.records import Question
from stepsight.stages import Stage, parse, render
from stepsight.world.checker import check, check_caption, check_reasoning, read_caption
from stepsight.world.corruption import corrupt_answer, corrupt_things, corrupt_walk
from stepsight.world.split import SPLITS, Posed, pose
from stepsight.world.teacher import write_caption, write_reasoning
from stepsight.world.walks import walk


@cache
def drawn() -> tuple[Posed, ...]:
    return tuple(pose(split, seed=23, index=index) for split in sorted(SPLITS) for index in range(120))


def faults(posed: Posed, reasoning: str) -> tuple[tuple[str, int | None], ...]:
    found = check_reasoning(posed.asked.program, posed.things, reasoning, posed.asked.choices)
    return tuple((fault.why, fault.step) for fault in found)


def steps_of(reasoning: str) -> list[re.Match[str]]:
    return list(re.finditer(r"([A-G][1-7]) (large|small) (\w+) (\w+) (\w+): ([^.]*)\.", reasoning))


def test_the_teacher_is_well_formed_and_true() -> None:
    seen = set()
    for posed in drawn():
        parsed = parse(render(posed.stages))
        assert parsed.valid
        truth = check(posed.question(), parsed.stages)
        assert (truth.caption, truth.reasoning, truth.conclusion) == (True, True, True), truth
        seen.add((posed.asked.program.family, bool(posed.asked.choices)))
    # exist and compare are never multiple choice
    assert len(seen) == 14


def test_case_of_space_and_order_of_a_caption_are_forgiven() -> None:
    posed = drawn()[0]
    turned = write_caption(random.Random(0), posed.things[::-1])
    assert not check_caption(posed.things, turned)
    assert not check_caption(posed.things, "  " + turned.replace(", ", ",\n") + "\n")


def test_what_is_missing_or_not_of_the_world_is_neither_true_nor_false() -> None:
    posed = drawn()[0]
    truth = check(posed.question(), {Stage.CAPTION: posed.stages[Stage.CAPTION]})
    assert (truth.caption, truth.reasoning, truth.conclusion) == (True, None, None)
    other = Question(id="x", text="What is this?", answer="a cat")
    assert check(other, posed.stages) == check(other, {})
    assert check(other, posed.stages).caption is None


@pytest.mark.parametrize("text", ["", "nothing", "I see B5.", "B5 small red metal cube."])
def test_what_cannot_be_read_is_not_true(text: str) -> None:
    posed = drawn()[0]
    truth = check(posed.question(), {Stage.CAPTION: text, Stage.REASONING: text, Stage.CONCLUSION: text})
    assert (truth.caption, truth.reasoning, truth.conclusion) == (False, False, False)


def test_every_corrupted_caption_is_found() -> None:
    rng = random.Random(1)
    for posed in drawn():
        things = corrupt_things(rng, posed.things, rng.choice((1, 2)))
        if set(things) == set(posed.things):
            continue
        caption = write_caption(rng, things)
        assert set(read_caption(caption) or ()) == set(things)
        assert check_caption(posed.things, caption), caption
        assert not check_caption(things, caption)


def test_every_corrupted_reasoning_is_found() -> None:
    rng = random.Random(2)
    found = 0
    for posed in drawn() * 2:
        program, choices = posed.asked.program, posed.asked.choices
        way = corrupt_walk(rng, program, walk(program, posed.things), posed.things)
        letter = ""
        if choices:
            letter = "ABCDEFGH"[choices.index(way.answer)] if way.answer in choices else "A"
        text = write_reasoning(program, way, letter)
        if text != posed.stages[Stage.REASONING]:
            found += 1
            assert faults(posed, text), text
    assert found > 500


def test_every_corrupted_conclusion_is_found() -> None:
    rng = random.Random(3)
    for posed in drawn():
        wrong = corrupt_answer(rng, posed.asked.program, posed.asked.answer, posed.asked.choices)
        assert check(posed.question(), {Stage.CONCLUSION: wrong}).conclusion is False
        assert check(posed.question(), {Stage.CONCLUSION: f" {posed.asked.answer.upper()}. "}).conclusion is True


def mutants(posed: Posed) -> Iterator[tuple[str, int, str]]:
    """Single changes inside one step: what was changed, the step's number, the changed reasoning."""
    text = posed.stages[Stage.REASONING]
    for number, match in enumerate(steps_of(text)):
        for name, group, value in (("color", 3, "red"), ("shape", 5, "cube"), ("size", 2, "large")):
            if match[group] != value:
                yield name, number, text[: match.start(group)] + value + text[match.end(group) :]
        begin, end = match.span(6)
        first = re.search(r"\b(yes|no)\b", match[6])
        assert first
        flipped = "no" if first.group() == "yes" else "yes"
        yield "verdict", number, text[: begin + first.start()] + flipped + text[begin + first.end() :]
        if tally := re.search(r"; (\d+)", match[6]):
            other = str(int(tally[1]) + 1)
            yield "tally", number, text[: begin + tally.start(1)] + other + text[begin + tally.end() :]
        again = match.group()
        yield "twice", number + 1, text[:end] + ". " + again + text[end + 1 :]


def test_a_single_changed_word_is_found_at_its_step() -> None:
    kinds = set()
    for posed in drawn()[::3]:
        for kind, step, text in mutants(posed):
            found = faults(posed, text)
            assert step in {number for _, number in found}, (kind, step, text, found)
            assert min(number for _, number in found if number is not None) == step, (kind, step, text, found)
            kinds.add(kind)
    assert kinds == {"color", "shape", "size", "verdict", "tally", "twice"}


def test_a_skipped_object_is_named() -> None:
    for posed in drawn()[::3]:
        text = posed.stages[Stage.REASONING]
        steps = steps_of(text)
        for match in steps:
            if len(steps) > 1:
                cut = text[: match.start()] + text[match.end() :].lstrip()
                assert any(why.startswith(match[1]) and "not looked at" in why for why, _ in faults(posed, cut))


def test_a_wrong_letter_sum_or_reference_is_found() -> None:
    checked = set()
    for posed in drawn():
        text = posed.stages[Stage.REASONING]
        tail = text[steps_of(text)[-1].end() :]
        if posed.asked.choices:
            other = "B" if posed.asked.answer == "A" else "A"
            assert faults(posed, text.replace(f"option {posed.asked.answer}", f"option {other}"))
            assert faults(posed, re.sub(r" That is option [A-Z]\.", "", text))
            checked.add("letter")
        for number in re.finditer(r"\d+", tail):
            wrong = tail[: number.start()] + str(int(number.group()) + 1) + tail[number.end() :]
            if posed.asked.program.family != "add" or number.end() > len(tail) - 3:
                assert faults(posed, text.removesuffix(tail) + wrong), wrong
                checked.add("number")
        if posed.asked.program.family == "spatial":
            place = re.search(r"Look [a-z ]+ ([A-G][1-7]), (?:column|row) (\w), for", text)
            assert place
            for group, (one, other) in ((1, ("A1", "G7")), (2, ("2", "3"))):
                wrong = other if place[group] == one else one
                assert faults(posed, text[: place.start(group)] + wrong + text[place.end(group) :])
            checked.add("reference")
    assert checked == {"letter", "number", "reference"}


def test_a_comparison_with_a_number_missing_is_a_fault_and_no_crash() -> None:
    compared = [posed for posed in drawn() if posed.asked.program.family == "compare"]
    assert compared
    for posed in compared:
        text = posed.stages[Stage.REASONING]
        assert not faults(posed, text)
        assert faults(posed, re.sub(r"; \d+ and (\d+)\.", r"; \1.", text))
        assert faults(posed, re.sub(r"; \d+ and \d+\.", ".", text))
