"""Programs answer as counting by hand does, and questions come in more than one wording."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from functools import cache

import pytest

from stepsight.world.programs import Group, Program, Seen, related
from stepsight.world.questions import SYNONYMS
from stepsight.world.scene import COLUMNS, Scene, Thing
from stepsight.world.split import SPLITS, Posed, pose
from stepsight.world.walks import Unanswerable, walk

FAMILIES = sorted({family for rules in SPLITS.values() for family in rules.weights})


@cache
def drawn() -> tuple[Posed, ...]:
    return tuple(pose(split, seed=11, index=index) for split in sorted(SPLITS) for index in range(200))


def members(group: Group, scene: Scene) -> set[str]:
    """The cells of a group, straight from the scene."""
    wanted = {name: value for name, value in vars(group).items() if value is not None}
    return {
        thing.cell for thing in scene.things if all(getattr(thing, name) == value for name, value in wanted.items())
    }


def by_hand(program: Program, scene: Scene) -> str:
    """The answer, without anything of `programs`."""
    every = {thing.cell: thing for thing in scene.things}
    sets = [members(group, scene) for group in program.groups]
    if program.family == "exist":
        return "yes" if sets[0] else "no"
    if program.family == "compare":
        one, other = map(len, sets)
        right = {"more than": one > other, "fewer than": one < other, "equal to": one == other}
        return "yes" if right[str(program.comparison)] else "no"
    if program.family == "attribute":
        (cell,) = sets[0]
        return str(getattr(every[cell], str(program.attribute)))
    if program.family == "spatial":
        (reference,) = sets[1]
        column, row = every[reference].column, every[reference].row
        directions: dict[str, Callable[[Thing], bool]] = {
            "left of": lambda thing: thing.column < column,
            "right of": lambda thing: thing.column > column,
            "behind": lambda thing: thing.row < row,
            "in front of": lambda thing: thing.row > row,
        }
        there = directions[str(program.relation)]
        return str(sum(there(every[cell]) for cell in sets[0]))
    if program.family.startswith("subtract"):
        return str(len(every.keys() - set().union(*sets)))
    return str(len(sets[0]) + program.amount)


def test_answers_are_those_of_counting_by_hand() -> None:
    for posed in drawn():
        answer = walk(posed.asked.program, posed.things).answer
        assert answer == by_hand(posed.asked.program, posed.scene), posed.asked.text
        if posed.asked.choices:
            assert len(set(posed.asked.choices)) == len(posed.asked.choices)
            assert posed.asked.choices["ABCDEFGH".index(posed.asked.answer)] == answer
        else:
            assert posed.asked.answer == answer


def test_every_family_is_asked_in_more_than_one_wording() -> None:
    wordings = defaultdict(set)
    plain = {synonym: word for word, synonyms in SYNONYMS.items() for synonym in synonyms}
    attributes = r"\b(?:(?:large|small|rubber|metal|gray|red|blue|green|brown|purple|cyan|yellow) )*"
    for posed in drawn():
        text = re.sub(r"\b[a-z]+?(?=s?\b)", lambda word: plain.get(word.group(), word.group()), posed.asked.text)
        shape = re.sub(attributes + r"(?:cube|sphere|cylinder|object)s?\b", "_", text)
        wordings[posed.asked.program.family].add(re.sub(r"\d", "N", shape))
    assert sorted(wordings) == FAMILIES
    assert all(len(seen) > 1 for seen in wordings.values()), wordings


def test_both_forms_of_answer_and_the_shape_of_the_papers_example_occur() -> None:
    for family in FAMILIES:
        forms = {bool(posed.asked.choices) for posed in drawn() if posed.asked.program.family == family}
        assert forms == ({False} if family in ("exist", "compare") else {True, False})
    shape = re.compile(r"Subtract all [a-z ]+\. Subtract all [a-z ]+\. How many objects are left\?")
    assert any(shape.fullmatch(posed.asked.text) for posed in drawn())


def test_both_yes_and_no_are_answers() -> None:
    for family in ("exist", "compare"):
        assert {posed.asked.answer for posed in drawn() if posed.asked.program.family == family} == {"yes", "no"}
    compared = [posed.asked.answer for posed in drawn() if posed.asked.program.family == "compare"]
    assert 0.2 < compared.count("yes") / len(compared) < 0.8


def test_a_program_survives_its_dictionary() -> None:
    for posed in drawn()[:40]:
        assert Program.from_dict(posed.asked.program.to_dict()) == posed.asked.program


def test_what_is_not_unique_cannot_be_asked_about() -> None:
    twins = [Seen("A1", "small", "red", "metal", "cube"), Seen("B2", "small", "red", "metal", "cube")]
    program = Program("attribute", (Group(shape="cube"),), attribute="color")
    assert walk(program, twins[:1]).answer == "red"
    for things in (twins, []):
        with pytest.raises(Unanswerable):
            walk(program, things)


def test_the_same_row_or_column_is_in_no_direction() -> None:
    assert not related("C3", "left of", "C5")
    assert not related("C3", "behind", "F3")
    for column, letter in enumerate(COLUMNS):
        assert related(f"{letter}1", "left of", "D1") == (column < 3)
        assert related(f"A{column + 1}", "in front of", "A4") == (column > 3)
