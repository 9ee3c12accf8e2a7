"""Questions about scenes, in varied words: count, exist, compare, attribute, spatial, subtract one or two groups, add.

The last three are the kinds of question of CLEVR-Math, the paper's own example among them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stepsight.world.programs import Comparison, Family, Group, Program, Relation, Seen
from stepsight.world.scene import VALUES, Attribute
from stepsight.world.walks import Unanswerable, walk

RELATIONS: tuple[Relation, ...] = ("left of", "right of", "behind", "in front of")
MULTI_STEP: tuple[Family, ...] = ("compare", "spatial", "subtract-one", "subtract-two", "add")
"""Families whose answer is not read off one group of objects: something is counted twice and compared, found before it
is counted, taken away, or reckoned with."""
COMPARISONS: tuple[Comparison, ...] = ("more than", "fewer than", "equal to")

SYNONYMS: dict[str, tuple[str, ...]] = {
    "large": ("large", "big"),
    "small": ("small", "tiny"),
    "metal": ("metal", "shiny", "metallic"),
    "rubber": ("rubber", "matte"),
    "sphere": ("sphere", "ball"),
    "cube": ("cube", "block"),
    "object": ("object", "thing"),
}

TEMPLATES: dict[Family, tuple[str, ...]] = {
    "count": (
        "How many {a} are there?",
        "What number of {a} are in the picture?",
        "Count the {a}.",
        "How many {a} do you see?",
    ),
    "exist": ("Is there a {a1}?", "Are there any {a}?", "Do you see a {a1}?"),
    "attribute": (
        "What {attribute} is the {a1}?",
        "What is the {attribute} of the {a1}?",
        "Name the {attribute} of the {a1}.",
    ),
    "spatial": ("How many {a} are {relation} the {b1}?", "Count the {a} {relation} the {b1}."),
    "subtract-one": (
        "Subtract all {a}. How many objects are left?",
        "Remove all {a}. How many objects remain?",
        "Take away every {a1}. How many things are left?",
    ),
    "subtract-two": (
        "Subtract all {a}. Subtract all {b}. How many objects are left?",
        "Remove all {a}. Remove all {b}. How many objects remain?",
        "Take away all {a} and all {b}. How many things are left?",
    ),
    "add": (
        "Add {amount} {a}. How many {a} are there now?",
        "If {amount} {a} are added, how many {a} are there?",
    ),
}
COMPARE_TEMPLATES: dict[Comparison, tuple[str, ...]] = {
    "more than": ("Are there more {a} than {b}?", "Are the {a} more than the {b}?"),
    "fewer than": ("Are there fewer {a} than {b}?", "Are there less {a} than {b}?"),
    "equal to": ("Are there as many {a} as {b}?", "Is the number of {a} equal to the number of {b}?"),
}


@dataclass(frozen=True)
class Asked:
    """A question in words with its program, its choices (empty for a free answer) and its answer."""

    text: str
    program: Program
    choices: tuple[str, ...]
    answer: str


def ask_about(
    rng: random.Random, things: Sequence[Seen], weights: Mapping[Family, float], *, specific: float = 0.0
) -> Asked:
    """Draw a question that the objects allow to answer.

    Args:
        rng: source of all chance.
        things: the objects as a true caption describes them.
        weights: how often each family is asked.
        specific: 0 to 1; how much more often groups are told by two or more attributes.
    """
    families = list(weights)
    while True:
        family = rng.choices(families, [weights[name] for name in families])[0]
        program = _draw_program(rng, family, things, specific)
        try:
            answer = walk(program, things).answer if program else None
        except Unanswerable:
            continue
        if program is None or answer is None or _lopsided(rng, program, answer):
            continue
        choices = _draw_choices(rng, program, answer)
        right = "ABCDEFGH"[choices.index(answer)] if choices else answer
        return Asked(_words(rng, program), program, choices, right)


def _lopsided(rng: random.Random, program: Program, answer: str) -> bool:
    """Thin out answers that chance makes too common: none of a group, and, of unlike numbers, `no` to "as many"."""
    if answer == "0":
        return rng.random() < 0.6
    return program.comparison == "equal to" and answer == "no" and rng.random() < 0.5


def _draw_group(rng: random.Random, things: Sequence[Seen], specific: float, without: Attribute | None = None) -> Group:
    count = rng.choices((1, 2, 3), (0.45 * (1 - specific), 0.4, 0.15 + 0.1 * specific))[0]
    open_to = [attribute for attribute in VALUES if attribute != without]
    told = rng.sample(open_to, min(count, len(open_to)))
    like = rng.choice(things)
    group = Group()
    for attribute in told:
        value = getattr(like, attribute) if rng.random() < 0.85 else rng.choice(VALUES[attribute])
        group = replace(group, **{attribute: value})
    return group


def _draw_unique(rng: random.Random, things: Sequence[Seen], without: Attribute | None = None) -> Group | None:
    for _ in range(12):
        group = _draw_group(rng, things, 0.5, without)
        if sum(group.has(thing) for thing in things) == 1:
            return group
    return None


def _draw_program(rng: random.Random, family: Family, things: Sequence[Seen], specific: float) -> Program | None:
    first = _draw_group(rng, things, specific)
    if family in ("compare", "subtract-two"):
        second = _draw_group(rng, things, specific)
        if first == second:
            return None
        comparison = rng.choice(COMPARISONS) if family == "compare" else None
        return Program(family, (first, second), comparison=comparison)
    if family == "attribute":
        attribute = rng.choice(list(VALUES))
        group = _draw_unique(rng, things, attribute)
        return None if group is None else Program(family, (group,), attribute=attribute)
    if family == "spatial":
        reference = _draw_unique(rng, things)
        counted = Group() if rng.random() < 0.4 else first
        if reference is None:
            return None
        return Program(family, (counted, reference), relation=rng.choice(RELATIONS))
    if family == "add":
        return Program(family, (Group() if rng.random() < 0.2 else first,), amount=rng.randint(1, 4))
    if family == "exist" and rng.random() < 0.55:
        # A group made up freely rarely has members; one modelled on an object nearly always has.
        told = rng.sample(list(VALUES), rng.choice((2, 2, 3)))
        return Program(family, (Group(**{attribute: rng.choice(VALUES[attribute]) for attribute in told}),))
    return Program(family, (first,))


def _draw_choices(rng: random.Random, program: Program, answer: str) -> tuple[str, ...]:
    if program.family in ("exist", "compare") or rng.random() > 0.25:
        return ()
    if program.attribute is not None:
        others = [value for value in VALUES[program.attribute] if value != answer]
    else:
        others = [str(number) for number in range(max(0, int(answer) - 3), int(answer) + 4) if number != int(answer)]
    choices = [answer, *rng.sample(others, min(3, len(others)))]
    rng.shuffle(choices)
    return tuple(choices)


def _say(rng: random.Random, group: Group, plural: bool) -> str:
    words = [value for value in (group.size, group.color, group.material, group.shape or "object") if value]
    said = " ".join(rng.choice(SYNONYMS.get(word, (word,))) for word in words)
    return said + "s" if plural else said


def _words(rng: random.Random, program: Program) -> str:
    first, last = program.groups[0], program.groups[-1]
    templates = COMPARE_TEMPLATES[program.comparison] if program.comparison else TEMPLATES[program.family]
    return rng.choice(templates).format(
        a=_say(rng, first, plural=True),
        a1=_say(rng, first, plural=False),
        b=_say(rng, last, plural=True),
        b1=_say(rng, last, plural=False),
        attribute=program.attribute,
        relation=program.relation,
        amount=program.amount,
    )
