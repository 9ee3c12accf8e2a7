"""Options: every rule by example, in each generation, and against recorded answers of VLMEvalKit's functions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation.recorded.reading import recorded

from stepsight.errors import InputError
from stepsight.evaluation.scoring.generations import GENERATIONS, Generation, generation_of
from stepsight.evaluation.scoring.options import NO_REPLY, REFUSALS, match_option

COLOURS = {"A": "blue", "B": "green", "C": "yellow", "D": "purple"}
NUMBERS = {"A": "3", "B": "13", "C": "30", "D": "4"}


def letter(text: str, options: dict[str, str] = COLOURS, generation: Generation = "2026-06") -> str | None:
    return match_option(text, options, generation=generation).letter


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("D", "D"),
        ("D.", "D"),
        ("(D)", "D"),
        ("D: purple", "D"),
        ("**D**", "D"),
        ("purple", "D"),
        ("It is purple", "D"),
        ("d", None),
        ('"D"', None),
        ("D/", None),
        ("option-D", None),
        ("$D$", None),
        ("E", None),
        ("", None),
        ("<CONCLUSION> D </CONCLUSION>", "D"),
        ("<CONCLUSION>D</CONCLUSION>", None),
        ("A plane. <CONCLUSION> D </CONCLUSION>", None),
        ("D is the right choice because it shows the purple tail fin", None),
        ("The answer is D because A is wrong", "D"),
        ("The tail is purple and green", None),
        ("A bird", "A"),
        ("A bird on a tree", None),
        ("The answer is a cat", "A"),
        ("The answer is blue", "B"),
        ("The answer is Delta", "D"),
        ("Cannot determine the answer, D", "Z"),
    ],
)
def test_the_newest_rules_by_example(text: str, wanted: str | None) -> None:
    assert letter(text) == wanted


def test_an_option_inside_another_is_found_by_its_text_alone_where_it_is_the_only_one() -> None:
    assert letter("3", NUMBERS) == "A"
    assert letter("13", NUMBERS) is None


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_reply_that_never_came_skips_the_letters(generation: Generation) -> None:
    assert letter(f"{NO_REPLY} (D)", generation=generation) is None
    short = match_option(f"{NO_REPLY} purple", COLOURS | {"E": "a" * 60}, generation=generation)
    assert (short.letter, short.how) == ("D", "text")


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_is_none_of_them(refusal: str) -> None:
    found = match_option(f"{refusal} D", COLOURS)
    assert (found.letter, found.how) == ("Z", "none of them")


@pytest.mark.parametrize("mark", list(".()[],:;!*#{}"))
def test_each_of_thirteen_marks_parts_words(mark: str) -> None:
    assert letter(f"x{mark}D{mark}x") == "D"


@pytest.mark.parametrize("mark", list("\"'/-<>$_?=`~|&%@^+\\"))
def test_other_marks_part_no_words(mark: str) -> None:
    assert letter(f"x{mark}D{mark}x") is None


def test_two_letters_are_none_and_a_letter_twice_is_one() -> None:
    assert letter("B D") is None
    assert letter("D D") == "D"


def test_the_first_place_of_a_letter_must_be_among_the_last_four_words() -> None:
    assert letter("w D x y z") == "D"
    assert letter("D w x y z") is None
    assert letter("D w x y D") is None  # the first place counts
    assert letter("D w x y z", generation="2024") == "D"


def test_a_lone_article_is_no_letter_where_verbose_is_set() -> None:
    assert match_option("A red bird sings", COLOURS, verbose=True).letter is None
    assert match_option("A red bird sings", COLOURS).letter == "A"
    assert match_option("A red bird", COLOURS, verbose=True).letter == "A"
    assert match_option("The answer is A", COLOURS, verbose=True).letter is None  # the phrase is not looked for


def test_the_letter_z_is_none_of_them_unless_an_option_is_named() -> None:
    assert letter("Z") == "Z"
    assert letter("Z x y w v u") == "Z"  # its place does not matter
    assert letter("Z D") == "D"
    assert letter("B D Z") is None


def test_the_phrase_counts_anywhere_since_june_2026() -> None:
    text = "The correct answer is **B**. Here is why: it has the colour of grass"
    assert match_option(text, COLOURS).how == "phrase"
    assert letter(text) == "B"
    assert letter(text, generation="2025-08") is None
    assert letter("the ANSWER  is c, not A or so they all said") == "C"
    assert letter("answer is E, or perhaps not, who of us knows", COLOURS | {"E": "pink"}) is None
    assert letter("The answer is D, I would say, if C is none", {"A": "x", "B": "y"}) is None  # D is no option here


def test_the_text_counts_where_exactly_one_occurs_in_any_case() -> None:
    found = match_option("PURPLE", COLOURS)
    assert (found.letter, found.how) == ("D", "text")
    assert letter("purple or green") is None
    assert letter("Purplexed") == "D"  # inside a longer word, too
    assert letter("purple", {"A": "Purple", "B": "green"}) == "A"


def test_a_long_text_matches_no_options_text_since_august_2025() -> None:
    limit = 2 * sum(map(len, COLOURS.values()))
    at = "purple".ljust(limit, "x")
    assert letter(at) == "D"
    assert letter(f"{at}x") is None
    assert letter(f"{at}x", generation="2024") == "D"


def test_the_letter_goes_before_the_text() -> None:
    assert letter("B purple") == "B"


def test_only_options_that_are_there_are_letters() -> None:
    assert letter("C", {"A": "x", "B": "y", "D": "w"}) is None
    assert letter("Z", {"A": "x", "Z": "y"}) == "Z"
    assert letter("D", {}) is None


def test_an_unknown_generation_is_refused() -> None:
    assert generation_of("2024") == "2024"
    with pytest.raises(InputError, match="choose one of 2024, 2025-08, 2026-06"):
        generation_of("2023")


LETTERS = st.sampled_from([*"ABCDEZ", "a", "d", "(B)", "**C**", '"D"', "A.", "B/"])
PHRASES = st.sampled_from(
    ["answer is", "The correct answer is **", "option", "Answer  is\n", "is", *REFUSALS, NO_REPLY, "<CONCLUSION>"]
)
WORDS = st.one_of(LETTERS, PHRASES, st.sampled_from([*COLOURS.values(), *NUMBERS.values()]), st.text(max_size=5))
TEXTS = st.lists(WORDS, max_size=9).flatmap(
    lambda words: st.sampled_from([" ", "", "\n", "\u00a0"]).map(lambda gap: gap.join(words))
)


def test_thousands_of_odd_texts_are_matched_as_vlmevalkit_matched_them() -> None:
    rows = recorded("options")
    assert len(rows) > 4000
    for verbose in (False, True):
        for row in rows:
            wanted = row.get("verbose", row["letters"]) if verbose else row["letters"]
            found = [
                match_option(row["text"], row["options"], generation=generation, verbose=verbose).letter
                for generation in GENERATIONS
            ]
            assert found == wanted, (row["text"], row["options"], verbose)


@given(TEXTS, st.sampled_from(GENERATIONS), st.booleans())
def test_what_is_matched_stands_in_the_text(text: str, generation: Generation, verbose: bool) -> None:
    found = match_option(text, COLOURS, generation=generation, verbose=verbose)
    match found.how:
        case "letter":
            assert found.letter is not None
            assert found.letter in text
            assert sum(one in re.split(r"[.()\[\],:;!*#{}\s]+", text) for one in COLOURS) == 1
        case "phrase":
            assert "nswer" in text.lower() or "n\u017fwer" in text.lower()
            assert found.letter in COLOURS
        case "text":
            assert found.letter is not None
            assert COLOURS[found.letter] in text.lower()
            assert not any(word in text.lower() for one, word in COLOURS.items() if one != found.letter)
        case "none of them":
            assert found.letter == "Z"
        case "nothing":
            assert found.letter is None


@given(TEXTS, st.sampled_from("ABCD"), st.sampled_from("ABCD"), st.sampled_from(["2024", "2025-08"]))
def test_a_wrong_option_named_besides_makes_a_match_none(
    text: str, right: str, wrong: str, generation: Generation
) -> None:
    if right == wrong or letter(text, generation=generation) != right:
        return
    besides = f"{text} {wrong} {COLOURS[wrong]}"
    assert letter(besides, generation=generation) != right
