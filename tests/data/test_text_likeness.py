"""A question is found in a text that says it with other things around it, and in no text that merely resembles it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.data.text_likeness import RUN, SHARE, Asked, HeldQuestions, runs_of, words_of

PLANE = Asked("What colour is the tail of the plane?", ("red", "light blue", "green", "white"))


def held(asked: Asked, text: str) -> bool:
    return [place for place, _ in HeldQuestions([asked]).held_by(text)] == [0]


@pytest.mark.parametrize(
    "text",
    [
        "What colour is the tail of the plane?\nA. red\nB. light blue\nC. green\nD. white",
        "what COLOUR is the tail of the plane\nContext: N/A\nOptions: (A) white (B) green (C) light blue (D) red",
        "Hint: look.\nQuestion: What colour is the tail of the plane? Choices:\n(A) red\n(B) light blue\n(C) green\n"
        "(D) white\nAnswer with the option's letter from the given choices directly.",
        "\uff37hat colour is the tail of the plane: red, light  blue, green, white",
    ],
)
def test_a_question_is_held_whatever_stands_around_it(text: str) -> None:
    assert held(PLANE, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What colour is the tail of the plane?",
        "What colour is the tail of the plane?\nA. red\nB. blue\nC. black\nD. white",
        "What colour is the nose of the plane?\nA. red\nB. light blue\nC. green\nD. white",
        "plane the of tail the is colour What? red light blue green white",
        "What colour is the tail of the plane? redder light blues greenish whiter",
    ],
)
def test_what_is_another_question_does_not_hold_it(text: str) -> None:
    assert not held(PLANE, text)


def test_a_word_more_or_less_in_a_long_question_does_not_matter() -> None:
    said = "In the diagram of the food web that is shown here which of the animals would be hurt most if grass died out"
    asked = Asked(said)
    assert held(asked, said.replace("the animals", "all the animals"))
    assert not held(asked, said.replace("the animals", "all the beasts").replace("food web", "web"))
    [(_, shared)] = HeldQuestions([asked]).held_by(said.replace("the animals", "all the animals"))
    assert SHARE <= shared < 1


def test_short_questions_are_like_nothing_unless_their_options_are_long() -> None:
    assert not held(Asked("What is x?"), "What is x?")
    assert held(Asked("What is x?", ("a small cat", "a dog")), "What is x? a dog, or a small cat?")
    assert held(Asked("Why?", ("it is red", "it is a cube")), "Why? Because it is a cube or it is red")
    assert not held(Asked("???", ("it is red", "it is a cube")), "??? it is a cube it is red")
    assert not held(Asked("How?", ("it is red", "it is a cube")), "Why? it is a cube it is red")


def test_the_rarest_run_alone_is_not_what_a_text_must_have() -> None:
    """`zebra` stands in one question only; a text that holds all but that one word's runs holds the question."""
    said = "which of the animals in the picture on the left of the page is the one called a zebra"
    others = [Asked(said.replace("zebra", word)) for word in ("horse", "goat", "cow")]
    index = HeldQuestions([Asked(said), *others])
    assert [place for place, _ in index.held_by(said.replace("zebra", "donkey"))] == [0, 1, 2, 3]


WORDS = st.sampled_from(["what", "is", "the", "a", "red", "blue", "of", "in", "picture", "cube", "left", "how", "many"])
LONG = st.lists(WORDS, min_size=1, max_size=16).map(" ".join)


@given(st.lists(LONG, min_size=1, max_size=8), LONG, st.integers(0, 20), WORDS)
def test_looking_up_rare_runs_finds_what_comparing_with_every_question_does(
    questions: list[str], text: str, place: int, word: str
) -> None:
    # One of the questions with another word in it is what is nearly held.
    near = questions[place % len(questions)].split()
    near[place % len(near)] = word
    for said in (text, " ".join(near), f"{text} {questions[0]}"):
        assert [found for found, _ in HeldQuestions([Asked(one) for one in questions]).held_by(said)] == [
            number for number, question in enumerate(questions) if holds(said, question)
        ]


def holds(text: str, question: str) -> bool:
    """The definition, run by run."""
    words, said = words_of(question), words_of(text)
    runs = runs_of(words)
    size = min(RUN, len(words))
    there = {" ".join(said[start : start + size]) for start in range(len(said) - size + 1)}
    return len(words) >= 5 and len(runs & there) >= SHARE * len(runs) - 1e-9


def test_texts_that_share_common_words_alone_hold_none_of_many_questions() -> None:
    rng = random.Random(0)
    words = [f"w{number}" for number in range(2000)]
    questions = [Asked("what is the " + " ".join(rng.choices(words, k=8))) for _ in range(1500)]
    index = HeldQuestions(questions)
    texts = ["what is the " + " ".join(rng.choices(words, k=15)) for _ in range(5000)]
    found = [list(index.held_by(text)) for text in texts]
    assert not any(found)
    assert [place for place, _ in index.held_by(questions[7].text + " now")] == [7]
