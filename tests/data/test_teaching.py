"""One question is asked until its answer has the right form, told what is wrong, sifted and judged."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.data.lessons import EVERYTHING, lesson, staged

from stepsight.data.agreement import Agreement, read_opinion
from stepsight.data.filters import FilterSettings
from stepsight.data.lessons import lesson_of, read_lessons
from stepsight.data.reasons import Reason
from stepsight.data.teaching import Taught, TeachingSettings, teach
from stepsight.engines.scripted import SampleCall, ScriptedEngine
from stepsight.errors import CapabilityError, InputError, RecordError
from stepsight.jsonl import write_jsonl
from stepsight.prompts.teacher import teacher_prompts
from stepsight.protocols import Capabilities, Completion, SampleRequest
from stepsight.records import Finish, Piece, Question
from stepsight.stages import parse

GOOD = staged("1")
CUT = Completion(Piece(text="<SUMMARY> I will"), Finish.LENGTH, 9)


def error(reason: str) -> Completion:
    return Completion(Piece(text=""), Finish.ERROR, 0, reason=reason)


async def taught(
    replies: Iterable[str | Completion], judge: str | None = None, keep_undecided: bool = False, **settings: object
) -> tuple[Taught, list[SampleRequest]]:
    engine = ScriptedEngine(replies)
    judging = None if judge is None else ScriptedEngine([judge])
    filters = FilterSettings(keep_undecided=keep_undecided)
    how = TeachingSettings.model_validate(settings)
    result = await teach(lesson(1), engine, how, filters, judge=judging)
    return result, [call.request for call in engine.calls if isinstance(call, SampleCall)]


async def test_a_good_answer_is_kept_at_once_in_the_public_form() -> None:
    result, requests = await taught([GOOD.replace("\n\n", "\n").replace("> ", ">\n")])
    assert (result.kept, result.text, result.replies) == (True, GOOD, 1)
    assert requests[0].stop == ("</CONCLUSION>",)


async def test_a_malformed_reply_is_repaired_by_saying_what_is_wrong() -> None:
    broken = GOOD.replace("</CAPTION>", "")
    result, requests = await taught([broken, GOOD])
    assert (result.kept, result.replies) == (True, 2)
    first, second = requests
    assert second.turns[:1] == first.turns
    assert second.turns[1].text == broken
    assert "CAPTION is not closed" in second.turns[2].text
    assert second.seeds != first.seeds


async def test_only_the_last_malformed_reply_is_shown() -> None:
    _, requests = await taught(["<SUMMARY>", "<CAPTION>", GOOD])
    assert [len(request.turns) for request in requests] == [1, 3, 3]
    assert requests[2].turns[1].text == "<CAPTION>"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("The number is 1.", Reason.FORMAT),
        ("", Reason.FORMAT),
        (GOOD.replace("<CAPTION>", "<caption>"), Reason.FORMAT),
        (CUT, Reason.TRUNCATED),
        ("I'm sorry, I can't assist with that.", Reason.REFUSAL),
        (error("refusal: no"), Reason.REFUSAL),
        (error("content_filter"), Reason.REFUSAL),
        (error("abort"), Reason.ENGINE_ERROR),
    ],
)
async def test_it_gives_up_with_the_reason_and_the_text(reply: str | Completion, reason: Reason) -> None:
    result, requests = await taught([reply] * 3)
    assert result.rejection is not None
    assert (result.rejection.reason, result.replies, len(requests)) == (reason, 3, 3)
    assert result.text == (reply if isinstance(reply, str) else reply.piece.text)


async def test_a_refusal_is_asked_anew_and_not_argued_with() -> None:
    result, requests = await taught(["I'm sorry, I can't assist with that.", GOOD])
    assert result.kept
    assert requests[1].turns == requests[0].turns


async def test_a_cut_reply_is_told_to_be_shorter() -> None:
    result, requests = await taught([CUT, GOOD])
    assert result.kept
    assert teacher_prompts("teacher-1").truncated in requests[1].turns[-1].text


@pytest.mark.parametrize(
    ("conclusion", "judge", "reason"),
    [
        ("2", "same", Reason.DISAGREES),  # the rules are sure; nobody asks
        ("one of them", "same", None),
        ("one of them", "Different.", Reason.DISAGREES),
        ("one of them", "unknown", Reason.UNDECIDED),
        ("one of them", "They are not the same", Reason.UNDECIDED),
        ("one of them", "", Reason.UNDECIDED),
        ("one of them", None, Reason.UNDECIDED),
    ],
)
async def test_rules_first_then_the_judge(conclusion: str, judge: str | None, reason: Reason | None) -> None:
    result, _ = await taught([staged(conclusion)], judge)
    assert (None if result.rejection is None else result.rejection.reason) is reason
    assert result.text == staged(conclusion)


async def test_what_nobody_can_tell_is_kept_if_so_wished() -> None:
    result, _ = await taught([staged("one of them")], "unknown", keep_undecided=True)
    assert (result.kept, result.opinion) == (True, "unknown")


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ("Same", Agreement.SAME),
        ("They mean the same.", Agreement.SAME),
        ("unknown", Agreement.UNKNOWN),
        ("same or different", Agreement.UNKNOWN),
        ("It isn't different", Agreement.UNKNOWN),
    ],
)
def test_a_verdict_is_one_word_or_none(reply: str, wanted: Agreement) -> None:
    assert read_opinion(teacher_prompts("teacher-1"), reply) is wanted


async def test_a_teacher_without_eyes_is_refused_a_picture() -> None:
    blind = ScriptedEngine([GOOD], capabilities=Capabilities(False, False, images=False, seeds=False))
    seen = lesson(1, images=("a.png",))
    with pytest.raises(CapabilityError, match="has a picture"):
        await teach(seen, blind, TeachingSettings(), FilterSettings())
    assert (await teach(lesson(1), blind, TeachingSettings(), FilterSettings())).kept
    assert EVERYTHING.images


def test_a_lesson_is_read_from_a_question_and_its_meta(tmp_path: Path) -> None:
    meta = {"row": "r", "turn": 1, "earlier": [["Is it red?", "no"]], "hints": ["look"], "image": "coco/a.png"}
    asked = Question(id="q", text="<image>\nWhat?", answer=" a ", images=(Path("a.png"),), meta=meta)
    write_jsonl(tmp_path / "questions.jsonl", [asked])
    (read,) = read_lessons(tmp_path / "questions.jsonl")
    assert (read.row, read.turn, read.image, read.human, read.answer) == ("r", 1, "coco/a.png", "What?", "a")
    assert (read.earlier[0].question, read.earlier[0].answer, read.hints) == ("Is it red?", "no", ("look",))
    assert read.question.images == (tmp_path / "a.png",)
    (elsewhere,) = read_lessons(tmp_path / "questions.jsonl", tmp_path / "other")
    assert elsewhere.digest == read.digest
    assert elsewhere.question.images == (tmp_path / "other/coco/a.png",)  # there it has the output's name
    assert parse(read.human).stages == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"answer": None},
        {"answer": " "},
        {"text": "<image>"},
        {"meta": {"earlier": ["x"]}},
        {"meta": {"turn": "second"}},
        {"meta": {"hints": "one"}},
        {"meta": {"wording": "<image>\n"}},
        {"choices": tuple(map(str, range(27)))},
        {"images": (Path("a.png"), Path("b.png"))},
        {"images": (Path("/data/a.png"),)},
        {"images": (Path("../a.png"),)},
        {"images": (Path("a.png"),), "meta": {"image": "../a.png"}},
    ],
)
def test_what_cannot_be_taught_is_named(wrong: dict[str, object], tmp_path: Path) -> None:
    question = Question.model_validate({"id": "odd", "text": "What?", "answer": "a", **wrong})
    with pytest.raises(InputError, match="odd"):
        lesson_of(question)
    write_jsonl(tmp_path / "q.jsonl", [question])
    with pytest.raises(RecordError, match=r"q\.jsonl, question 1"):
        list(read_lessons(tmp_path / "q.jsonl"))


LEAKING = GOOD.replace("A number is there.", "A number is there; the answer is 1.")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [(staged("2"), Reason.DISAGREES), (LEAKING, Reason.CAPTION_LEAKS), (staged("one"), Reason.UNDECIDED)],
)
async def test_a_rejected_content_has_a_fresh_try_only_if_the_recipe_says_so(bad: str, reason: Reason) -> None:
    result, requests = await taught([bad, GOOD])
    assert result.rejection is not None
    assert (result.rejection.reason, len(requests), result.before) == (reason, 1, ())
    result, requests = await taught([bad, GOOD], retry_on=[reason])
    assert (result.kept, result.replies, result.text, result.before) == (True, 2, GOOD, (reason,))
    first, second = requests
    assert second.turns == first.turns, "it is not argued with"
    assert second.seeds != first.seeds


async def test_fresh_tries_count_as_tries_and_do_not_go_on_for_ever() -> None:
    broken = GOOD.replace("</CAPTION>", "")
    result, requests = await taught([staged("2"), broken, staged("3"), GOOD], retry_on=["disagrees"])
    assert result.rejection is not None
    assert (result.rejection.reason, result.replies, len(requests)) == (Reason.DISAGREES, 3, 3)
    assert (result.text, result.before) == (staged("3"), (Reason.DISAGREES, Reason.FORMAT))
    assert "after 3 tries" in result.rejection.detail
    assert [len(request.turns) for request in requests] == [1, 1, 3]


async def test_a_reason_that_was_not_chosen_ends_it() -> None:
    result, requests = await taught([staged("2"), LEAKING, GOOD], retry_on=["disagrees"])
    assert result.rejection is not None
    assert (result.rejection.reason, len(requests)) == (Reason.CAPTION_LEAKS, 2)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"retry_on": ["format"]}, "cannot have format; known: .*disagrees"),
        ({"retry_on": ["disagree"]}, "retry_on"),
        ({"retry_on": ["disagrees"], "temperature": 0}, "temperature above 0"),
    ],
)
def test_what_cannot_be_retried_is_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TeachingSettings.model_validate(settings)


async def test_a_grammar_is_asked_for_only_where_there_is_one() -> None:
    able = ScriptedEngine([GOOD], capabilities=Capabilities(True, True, images=True, seeds=True, grammar=True))
    asked = TeachingSettings(grammar=True)
    assert (await teach(lesson(1), able, asked, FilterSettings())).kept
    (call,) = able.calls
    assert isinstance(call, SampleCall)
    assert call.request.staged
    plain = ScriptedEngine([GOOD])
    with pytest.raises(CapabilityError, match=r"teaching\.grammar"):
        await teach(lesson(1), plain, asked, FilterSettings())
    assert plain.calls == []
    _, (request,) = await taught([GOOD])
    assert not request.staged
