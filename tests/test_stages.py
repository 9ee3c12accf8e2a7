"""Properties of rendering, parsing and streaming staged answers."""

from __future__ import annotations

import itertools
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.errors import InputError
from stepsight.stages import (
    SEPARATOR,
    STAGES,
    STOP_STRINGS,
    FaultKind,
    Stage,
    StageEvent,
    StageStream,
    conclusion,
    parse,
    render,
    render_stage,
    staged_gbnf,
    staged_regex,
    stop_string,
)

TAGS = [tag for stage in STAGES for tag in (stage.open, stage.close)]
WHOLE = {
    Stage.SUMMARY: "Count the red cups.",
    Stage.CAPTION: "Three cups, two of them red.",
    Stage.REASONING: "There are two.\n\nSo 2.",
    Stage.CONCLUSION: "2",
}

# Text that loves to look like tags, cut or whole.
shards = st.sampled_from(
    [*TAGS, *(tag[:-1] for tag in TAGS), "<", "</", "<SUM", " ", "\n", "<summary>", "< SUMMARY>", "a < b", "é", ">"]
)
texts = st.lists(st.one_of(shards, st.text(max_size=5)), max_size=25).map("".join)
stage_text = (
    st.lists(
        st.one_of(st.sampled_from(["<", "</", "<SUMMARY", ">", "x", " "]), st.text(max_size=5)), min_size=1, max_size=8
    )
    .map("".join)
    .filter(lambda text: text.strip() and not any(tag in text.strip() for tag in TAGS))
)


def kinds(text: str) -> list[tuple[str, Stage | None]]:
    return [(fault.kind.value, fault.stage) for fault in parse(text).faults]


def stream(pieces: list[str]) -> tuple[StageStream, list[StageEvent]]:
    reader = StageStream()
    events = [event for piece in pieces for event in reader.feed(piece)]
    events.extend(reader.finish())
    return reader, events


def merged(events: list[StageEvent]) -> list[StageEvent]:
    """Join neighbouring stretches of text: how the text was split must be the only difference."""
    joined: list[StageEvent] = []
    for event in events:
        if event.kind == "text" and joined and joined[-1].kind == "text":
            event = StageEvent("text", event.stage, joined.pop().text + event.text)
        joined.append(event)
    return joined


def cut(text: str, places: list[int]) -> list[str]:
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(bounds)]


def test_render_writes_the_public_format_exactly() -> None:
    assert render(dict(reversed(WHOLE.items()))) == (
        "<SUMMARY> Count the red cups. </SUMMARY>\n\n<CAPTION> Three cups, two of them red. </CAPTION>\n\n"
        "<REASONING> There are two.\n\nSo 2. </REASONING>\n\n<CONCLUSION> 2 </CONCLUSION>"
    )


def test_render_of_some_stages_is_a_prefix() -> None:
    first = {stage: WHOLE[stage] for stage in STAGES[:2]}
    assert render(WHOLE).startswith(render(first) + SEPARATOR)


@pytest.mark.parametrize("text", ["", " \n", "see <CAPTION>", "done </SUMMARY> more"])
def test_render_refuses_what_no_parser_could_read_back(text: str) -> None:
    with pytest.raises(InputError):
        render_stage(Stage.SUMMARY, text)


@given(st.fixed_dictionaries(dict.fromkeys(STAGES, stage_text)))
def test_what_is_rendered_parses_to_itself(stages: dict[Stage, str]) -> None:
    parsed = parse(render(stages))
    assert parsed.valid
    assert parsed.stages == {stage: text.strip() for stage, text in stages.items()}


@pytest.mark.parametrize("between", ["", " ", "\n", "\n\n\n \t"])
def test_white_space_between_and_inside_stages_does_not_matter(between: str) -> None:
    text = between + between.join(f"{s.open}{between}{t}{between}{s.close}" for s, t in WHOLE.items()) + between
    parsed = parse(text)
    assert parsed.valid
    assert parsed.stages == WHOLE


@pytest.mark.parametrize("stage", STAGES)
def test_a_left_out_stage_is_missing(stage: Stage) -> None:
    rest = {other: text for other, text in WHOLE.items() if other is not stage}
    assert kinds(render(rest)) == [("missing", stage)]


def test_any_other_order_is_a_fault_of_the_stage_that_comes_late() -> None:
    text = SEPARATOR.join(render_stage(stage, WHOLE[stage]) for stage in (STAGES[1], STAGES[0], *STAGES[2:]))
    parsed = parse(text)
    assert kinds(text) == [("out_of_order", Stage.SUMMARY)]
    assert parsed.stages == WHOLE


def test_of_a_repeated_stage_the_first_counts() -> None:
    text = render(WHOLE) + SEPARATOR + render_stage(Stage.CONCLUSION, "3")
    assert kinds(text) == [("repeated", Stage.CONCLUSION)]
    assert conclusion(text) == "2"


def test_a_forgotten_closing_tag_costs_only_its_own_stage() -> None:
    text = render(WHOLE).replace("</CAPTION>", "")
    assert kinds(text) == [("unclosed", Stage.CAPTION)]
    assert set(parse(text).stages) == set(STAGES) - {Stage.CAPTION}


def test_an_answer_that_is_cut_off_is_unclosed() -> None:
    text = render(WHOLE).removesuffix("</CONCLUSION>")
    assert kinds(text) == [("unclosed", Stage.CONCLUSION)]
    assert conclusion(text) is None


def test_a_stray_closing_tag_is_unopened() -> None:
    assert kinds(render(WHOLE) + "</SUMMARY>") == [("unopened", Stage.SUMMARY)]
    assert kinds(render(WHOLE).replace("Three", "</REASONING>Three")) == [("unopened", Stage.REASONING)]


def test_an_empty_stage_is_neither_missing_nor_there() -> None:
    text = render(WHOLE).replace("> 2 <", "> \n <")
    assert kinds(text) == [("empty", Stage.CONCLUSION)]
    assert conclusion(text) is None


@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_text_outside_is_named_once_and_shown(place: str) -> None:
    whole = render(WHOLE)
    text = {
        "before": "Sure! Here:" + whole,
        "between": whole.replace("</CAPTION>", "</CAPTION> Sure! Here:"),
        "after": whole + "Sure! Here:",
    }[place]
    (fault,) = parse(text).faults
    assert fault.kind is FaultKind.OUTSIDE_TEXT
    assert fault.stage is None
    assert "Sure! Here:" in str(fault)


def test_plain_text_lacks_everything() -> None:
    assert kinds("The answer is 2.") == [("outside_text", None), *(("missing", stage) for stage in STAGES)]


@given(texts)
def test_any_text_parses_and_faults_agree_with_stages(text: str) -> None:
    parsed = parse(text)
    assert parsed.valid == (not parsed.faults)
    assert all(fault.detail for fault in parsed.faults)
    for stage, found in parsed.stages.items():
        assert found == found.strip() != ""
        assert stage.open in text
        assert stage.close in text
    if parsed.valid:
        assert parse(render(parsed.stages)) == parsed
    else:
        assert conclusion(text) == parsed.stages.get(Stage.CONCLUSION)


@given(texts, st.lists(st.integers(min_value=0), max_size=12))
def test_how_a_text_is_split_changes_nothing(text: str, places: list[int]) -> None:
    reader, events = stream(cut(text, places))
    whole_reader, whole_events = stream([text])
    assert reader.parsed == whole_reader.parsed == parse(text)
    assert merged(events) == merged(whole_events)


@given(texts)
def test_one_character_at_a_time_changes_nothing(text: str) -> None:
    assert stream(list(text))[0].parsed == parse(text)


def test_events_tell_the_answer_as_it_grows() -> None:
    reader = StageStream()
    assert reader.feed("<SUMM") == ()
    assert reader.feed("ARY> Co") == (StageEvent("opened", Stage.SUMMARY), StageEvent("text", Stage.SUMMARY, " Co"))
    assert reader.feed("unt a <") == (StageEvent("text", Stage.SUMMARY, "unt a "),)
    assert reader.feed(" b </SUMMARY>") == (
        StageEvent("text", Stage.SUMMARY, "< b "),
        StageEvent("closed", Stage.SUMMARY, "Count a < b"),
    )
    assert reader.feed("\n\n<CAP") == (StageEvent("text", None, "\n\n"),)
    assert reader.finish() == (StageEvent("text", None, "<CAP"),)
    assert reader.finish() == ()


def test_a_stream_has_one_end() -> None:
    reader = StageStream()
    with pytest.raises(RuntimeError, match="finish"):
        _ = reader.parsed
    reader.finish()
    with pytest.raises(RuntimeError, match="finished"):
        reader.feed("more")


def test_stop_strings_close_their_stages() -> None:
    assert tuple(map(stop_string, STAGES)) == STOP_STRINGS
    for stage, text in WHOLE.items():
        assert render_stage(stage, text).endswith(stop_string(stage))


@given(st.from_regex(staged_regex(), fullmatch=True))
def test_what_the_regular_expression_lets_through_is_a_whole_answer(text: str) -> None:
    parsed = parse(text)
    assert parsed.valid
    # Only white space at the ends of a text may be lost.
    assert re.sub(r"\s", "", render(parsed.stages)) == re.sub(r"\s", "", text)


@pytest.mark.parametrize("text", ["2", "x < 3, and y<4", "a << b\n\n- c", "so \u2264 4"])
def test_plain_texts_pass_the_regular_expression(text: str) -> None:
    assert re.fullmatch(staged_regex(), render(dict.fromkeys(STAGES, text)))


@pytest.mark.parametrize(
    "text",
    [
        render(WHOLE)[:-1],
        f"Sure.\n{render(WHOLE)}",
        f"{render(WHOLE)}\n",
        render({stage: WHOLE[stage] for stage in STAGES[1:]}),
        render(WHOLE).replace("<CAPTION>", "<caption>"),
        render(WHOLE).replace(" 2 ", "  "),
    ],
)
def test_what_is_malformed_does_not_pass(text: str) -> None:
    assert re.fullmatch(staged_regex(), text) is None


def test_the_grammar_for_llama_cpp_says_the_same() -> None:
    root, text = (line.split(" ::= ")[1] for line in staged_gbnf().splitlines())
    # GBNF without its quotes and blanks is the regular expression, rule by rule.
    inner = text.replace("] (", "](").replace("] | ", "]|").replace('"<"+ ', "<+")
    parts = re.findall(r'"[^"]*"|text', root)
    whole = "".join(inner if part == "text" else part[1:-1].replace(r"\n", "\n") for part in parts)
    assert whole == staged_regex()


def test_an_answer_that_opens_a_stage_again_and_again_is_read_in_no_time() -> None:
    started = time.process_time()
    parsed = parse("<CONCLUSION>" * 30_000 + "B</CONCLUSION>")
    assert time.process_time() - started < 20
    assert parsed.stages == {Stage.CONCLUSION: "B"}
    assert sum(fault.kind is FaultKind.REPEATED for fault in parsed.faults) == 29_999
