"""What counts as giving the answer away, and what does not."""

from __future__ import annotations

import pytest

from stepsight.data.leaks import choices_in, leaks_in
from stepsight.stages import Stage

FIN = "What color is the tail fin?\nA. blue\nB. green\nC. yellow\nD. purple"
CAPITAL = "What is the capital?\nContext: N/A\nOptions: (A) Seattle (B) Juneau (C) Saint Paul (D) Anchorage"


def found(question: str, conclusion: str, summary: str = "I will look.", caption: str = "A table.") -> list[str]:
    stages = {Stage.SUMMARY: summary, Stage.CAPTION: caption, Stage.CONCLUSION: conclusion}
    return [f"{leak.stage} {leak.grade}" for leak in leaks_in(question, stages)]


def test_choices_are_read_from_both_forms() -> None:
    assert choices_in(FIN) == ("blue", "green", "yellow", "purple")
    assert choices_in(CAPITAL) == ("Seattle", "Juneau", "Saint Paul", "Anchorage")
    assert choices_in("How many?\nB. two\nC. three") == ()
    assert choices_in("How many?") == ()


@pytest.mark.parametrize(
    ("question", "conclusion", "summary", "caption", "expected"),
    [
        (FIN, "D", "The answer is D because the fin is purple.", "A plane.", ["SUMMARY states"]),
        (FIN, "D", "I will look.", "A plane, so option D is correct.", ["CAPTION states"]),
        (FIN, "D", "I will look.", "It shows that the correct answer is purple.", ["CAPTION states"]),
        (CAPITAL, "The answer is B.", "The correct option is Juneau.", "A map.", ["SUMMARY states"]),
        ("How many?", "21", "The final answer: is 21.", "Bars.", []),
        ("How many?", "21", "The answer would be 21, as the bar says.", "Bars.", ["SUMMARY states"]),
        # Another answer is announced, or none.
        (FIN, "D", "The answer is B.", "A plane.", []),
        (FIN, "D", "The answer is the color of the fin.", "A plane.", []),
        (FIN, "D", "I will find the correct answer among the options.", "A plane.", []),
        # Mentions: the choice alone, but not all of them, and not what the question says itself.
        (FIN, "D", "I will check if the fin is purple.", "A plane.", ["SUMMARY mentions"]),
        (FIN, "D", "I will check if it is blue, green, yellow or purple.", "A plane.", []),
        ("Is the cat asleep?", "asleep", "I will see if the cat is asleep.", "A cat.", []),
        ("How many?", "1,240", "I will look for 1,240 in the bars.", "Bars.", ["SUMMARY mentions"]),
        ("How many?", "4", "I will look at the 4 bars.", "Bars.", []),
        # A description may show the answer.
        (FIN, "D", "I will look.", "A plane with a purple fin.", []),
    ],
)
def test_leaks(question: str, conclusion: str, summary: str, caption: str, expected: list[str]) -> None:
    assert found(question, conclusion, summary, caption) == expected


def test_the_passage_is_kept() -> None:
    stages = {Stage.SUMMARY: "Well. The answer is D, I see.", Stage.CONCLUSION: "D"}
    (leak,) = leaks_in(FIN, stages)
    assert leak.evidence.startswith("The answer is D")
    assert list(leaks_in(FIN, {Stage.SUMMARY: "The answer is D."})) == []
