"""A staged answer as a client sees it: however it is cut into pieces, and where it is broken."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.serving.speaking import Speaker, heard
from stepsight.stages import STAGES, Stage, conclusion, parse, render

TEXTS = {
    Stage.SUMMARY: "Count them.",
    Stage.CAPTION: "Two\n\ncubes.",
    Stage.REASONING: "1 + 1 < 3",
    Stage.CONCLUSION: "2",
}
REASONING = "SUMMARY: Count them.\n\nCAPTION: Two\n\ncubes.\n\nREASONING: 1 + 1 < 3"

pieces = st.sampled_from(
    [
        *(stage.open for stage in STAGES),
        *(stage.close for stage in STAGES),
        " ",
        "\n\n",
        "a",
        "1 < 2",
        "</",
        "<CAP",
        "é",
    ]
)
answers = st.lists(pieces, max_size=14).map("".join)


def said(*parts: str, cut: bool = False, whole: bool = False) -> tuple[str, str]:
    """Reasoning and content."""
    speaker = Speaker(whole=whole)
    deltas = [delta for part in parts for delta in speaker.feed(part)] + speaker.finish(cut=cut)
    assert all(delta.text for delta in deltas)
    return tuple("".join(one.text for one in deltas if one.field == name) for name in ("reasoning", "content"))  # type: ignore[return-value]


def test_stages_are_named_and_the_conclusion_is_the_content() -> None:
    assert said(render(TEXTS)) == (REASONING, "2")
    assert said(render(TEXTS), whole=True) == ("", render(TEXTS))


@given(answer=answers, places=st.lists(st.integers(0, 200), max_size=6), cut=st.booleans(), whole=st.booleans())
def test_it_does_not_matter_how_an_answer_is_cut_into_pieces(
    answer: str, places: list[int], cut: bool, whole: bool
) -> None:
    ends = sorted({min(place, len(answer)) for place in places} | {0, len(answer)})
    parts = [answer[start:end] for start, end in pairwise(ends)]
    assert said(*parts, cut=cut, whole=whole) == said(answer, cut=cut, whole=whole)


@given(answer=answers)
def test_content_is_the_conclusion_or_else_everything(answer: str) -> None:
    _, content = said(answer)
    assert content == content.strip()
    parsed = parse(answer)
    if parsed.valid:
        assert content == conclusion(answer)
    elif Stage.CONCLUSION.open not in answer:
        assert content == answer.strip()


@pytest.mark.parametrize(
    ("text", "cut", "expected"),
    [
        ("Just two.", False, ("", "Just two.")),
        ("Just tw", True, ("", "Just tw")),
        ("<SUMMARY> Count", True, ("SUMMARY: Count", "")),
        ("<SUMMARY> Count", False, ("SUMMARY: Count", "<SUMMARY> Count")),
        ("<SUMMARY> Count </SUMMARY> <CONCLUSION> 2", True, ("SUMMARY: Count", "2")),
        ("<CONCLUSION>  </CONCLUSION>", False, ("", "<CONCLUSION>  </CONCLUSION>")),
        ("<CONCLUSION> 2 </CONCLUSION> <SUMMARY> late </SUMMARY>", False, ("", "2")),
        ("<CONCLUSION> 2 <CONCLUSION> 3 </CONCLUSION>", False, ("", "2")),
        ("well: <SUMMARY> a </SUMMARY> <SUMMARY> b </SUMMARY> <CONCLUSION>c</CONCLUSION>", False, ("SUMMARY: a", "c")),
        ("   ", False, ("", "")),
        ("", True, ("", "")),
    ],
)
def test_broken_and_cut_answers(text: str, cut: bool, expected: tuple[str, str]) -> None:
    assert said(text, cut=cut) == expected


plain = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<"), min_size=1).filter(str.strip)


@given(st.fixed_dictionaries(dict.fromkeys(STAGES, plain)))
def test_what_a_client_sends_back_is_what_was_written(stages: dict[Stage, str]) -> None:
    answer = render(stages)
    reasoning, content = said(answer)
    assert heard(reasoning, content) == answer


def test_reasoning_of_another_form_is_left_out() -> None:
    assert heard("I thought a while.", "2") == "2"
    assert heard("", "2") == "2"
    assert heard("CAPTION: wrong order\n\nSUMMARY: x", "2") == "2"
    assert heard("SUMMARY: x", "") == ""
    assert heard("SUMMARY: x", "<CONCLUSION>") == "<CONCLUSION>"
