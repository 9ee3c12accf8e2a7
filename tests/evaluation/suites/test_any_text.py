"""No output, however odd, makes scoring crash, or score in silence what it should not."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.evaluation.suites.files import FILES, staged, write_all

from stepsight.evaluation.scoring.generations import GENERATIONS, Generation
from stepsight.evaluation.scoring.readings import By
from stepsight.evaluation.suites import Prediction, Settings, Suite, read_suite, score_by_rules
from stepsight.stages import STAGES, conclusion

SCORED = [name for name in FILES if name != "MMVet"]


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Suite]:
    folder = write_all(tmp_path_factory.mktemp("any"))
    return {name: read_suite(name, root=folder) for name in FILES}


TAGS = [tag for stage in STAGES for tag in (stage.open, stage.close)]
PIECES = st.one_of(
    st.sampled_from([*TAGS, "<conclusion>", "</CONCLUSION", "<CONCLUSION><CONCLUSION>", "<", ">"]),
    st.sampled_from([*"ABCDEZ", "a", "(B)", "**C**", "A.", "yes", "No", "no.", "Yes", "4", "0", "0.5", "05", "1_0"]),
    st.sampled_from(["None", "NA", "nan", "inf", "-inf", "1e999", "True", "", " ", "\n", "\r", "\t", "\0", "\ud800"]),
    st.sampled_from(["answer is", "a red cube", "leaf", "135°", "Failed to obtain answer via API", "\u202e", "İ", "ß"]),
    st.text(max_size=8),
    st.sampled_from(["A " * 500, "9" * 5000, ". " * 100, "x" * 40_000, "(" * 300]),
)
OUTPUTS = st.lists(PIECES, max_size=8).flatmap(
    lambda parts: st.sampled_from(["", " "]).map(lambda gap: gap.join(parts))
)


def answers(suite: Suite, texts: list[str]) -> list[Prediction]:
    return [Prediction(index=line.index, text=texts[place % len(texts)]) for place, line in enumerate(suite.lines)]


@given(st.sampled_from(list(FILES)), st.lists(OUTPUTS, min_size=1, max_size=4), st.sampled_from(GENERATIONS))
@settings(max_examples=60)
@example("MathVista_MINI", ["inf"], "2026-06")
@example("MathVista_MINI", ["True"], "2026-06")
@example("HallusionBench", [""], "2024")
def test_nothing_crashes_and_nothing_is_lost(
    suites: dict[str, Suite], name: str, texts: list[str], generation: Generation
) -> None:
    suite = suites[name]
    scores = score_by_rules(suite, answers(suite, texts), Settings(generation=generation))
    for result in filter(None, (scores.whole, scores.conclusion)):
        assert len(result.readings) == len(suite.lines) == sum(result.counts.by.values())
        assert result.counts.unscored == sum(reading.hit is None for reading in result.readings)
        assert all(reading.hit in (None, 0.0, 1.0) for reading in result.readings)
        for group in (*result.groups, *(result.exact or ())):
            measure = group.measure
            assert (measure.value is None) == (measure.n == 0)
            if measure.value is not None:
                assert measure.low is not None
                assert measure.high is not None
                assert 0 <= measure.low <= measure.value <= measure.high <= 1
        if result.exact is not None:
            assert all(group.measure.unscored == 0 for group in result.exact)


@given(st.sampled_from(list(FILES)), st.lists(OUTPUTS, min_size=1, max_size=4), st.sampled_from(GENERATIONS))
@settings(max_examples=40)
@example("MMStar", [staged("B"), "no tags"], "2026-06")
def test_the_score_of_conclusions_is_that_of_their_texts(
    suites: dict[str, Suite], name: str, texts: list[str], generation: Generation
) -> None:
    suite, how = suites[name], Settings(generation=generation)
    made = answers(suite, texts)
    told = {one.index: text for one in made if (text := conclusion(one.text)) is not None}
    scores = score_by_rules(suite, made, how)
    if not told:
        assert scores.conclusion is None
        return
    assert scores.conclusion is not None
    alone = score_by_rules(suite, [Prediction(index=index, text=text) for index, text in told.items()], how).whole
    by_index = {reading.index: reading for reading in alone.readings}
    for reading in scores.conclusion.readings:
        if reading.index in told:
            assert reading == by_index[reading.index]
        else:
            assert (reading.by, reading.hit) == (By.NO_CONCLUSION, 0.0)


@given(st.sampled_from(["MMStar", "MMBench_DEV_EN_V11", "AI2D_TEST"]), OUTPUTS)
@settings(max_examples=40)
def test_a_choice_is_right_only_by_its_own_letter_or_text(suites: dict[str, Suite], name: str, text: str) -> None:
    suite = suites[name]
    for line, reading in zip(suite.lines, score_by_rules(suite, answers(suite, [text])).whole.readings, strict=True):
        if reading.hit:
            letter = line.text("answer")
            assert reading.given == letter
            said = text if reading.by is not By.TEXT else ""
            assert letter.lower() in said.lower() or line.options[letter].lower() in text.lower() or text == "None"
        elif reading.hit is None:
            assert reading.given == ""
            assert reading.asks


@given(OUTPUTS)
@settings(max_examples=40)
def test_yes_and_no_are_right_only_by_their_own_word(suites: dict[str, Suite], text: str) -> None:
    suite = suites["HallusionBench"]
    for line, reading in zip(suite.lines, score_by_rules(suite, answers(suite, [text])).whole.readings, strict=True):
        if reading.hit:
            letters = "".join(filter(str.isalpha, text.lower()))
            assert line.text("answer").lower() in letters


@given(OUTPUTS)
@settings(max_examples=40)
def test_a_number_is_right_only_as_a_whole(suites: dict[str, Suite], text: str) -> None:
    suite = suites["MathVista_MINI"]
    readings = score_by_rules(suite, answers(suite, [text, "x"])).whole.readings
    for line, reading in zip(suite.lines, readings, strict=True):
        if reading.hit and line.text("answer_type") in ("integer", "float"):
            assert float(text) == float(line.text("answer"))


def test_a_huge_output_takes_no_hours(suites: dict[str, Suite]) -> None:
    parts = ("A plane, or the answer  is  so. ", "9", " ", "<CONCLUSION>", "correct ", "* ", ".", "[")
    huge = [part * (200_000 // len(part)) + "<CONCLUSION> B </CONCLUSION>" for part in parts]
    for suite in suites.values():
        started = time.process_time()
        scores = score_by_rules(suite, answers(suite, huge)[: len(huge)])
        assert time.process_time() - started < 20
        assert scores.conclusion is not None
