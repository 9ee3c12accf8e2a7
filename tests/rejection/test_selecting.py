"""Kept is what is confirmed, by whoever is asked; the rest has a reason; questions to measure with are refused."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.cli.app import run
from stepsight.data.manifest import check_manifest, read_manifest
from stepsight.data.staged_rows import StagedRow, read_rows
from stepsight.errors import InputError
from stepsight.jsonl import read_jsonl, write_jsonl
from stepsight.prompts.answer import question_text
from stepsight.records import Candidate, Finish, Piece, Question, Trace, Usage, Verdict
from stepsight.rejection.selecting import Selection, Why, divided, select
from stepsight.rejection.writing import write_selected
from stepsight.stages import Stage, parse, render, render_stage
from stepsight.world.drawing import draw_picture
from stepsight.world.split import pose, save_picture


@cache
def question(index: int, split: str = "train") -> Question:
    return pose(split, seed=77, index=index).question()


def truth(index: int) -> str:
    return str(question(index).meta["staged_answer"])


def changed(answer: str, stage: Stage, text: str) -> str:
    return render({**parse(answer).stages, stage: text})


def trace(asked: Question, *answers: str, scores: tuple[float, ...] | None = None) -> Trace:
    candidates = tuple(
        Candidate(id=place, stage=None, slot=place, seed=place, piece=Piece(text=text), finish=Finish.STOP, tokens=9)
        for place, text in enumerate(answers)
    )
    order = tuple(range(len(answers)))
    verdicts = (Verdict(judge="reward", stage=None, order=order, scores=scores),) if scores else ()
    return Trace(
        question=asked,
        strategy="vote",
        judge=None,
        seed=0,
        settings={"engine": "pico"},
        candidates=candidates,
        verdicts=verdicts,
        chosen=(0,),
        usage=Usage(),
        seconds=1.0,
    )


def wrong_way(index: int) -> str:
    """The right conclusion behind a caption that is not true."""
    return changed(truth(index), Stage.CAPTION, "The picture shows A1 small red metal cube.")


def test_the_world_confirms_every_stage_or_the_conclusion_alone() -> None:
    good, lucky, wrong = truth(0), wrong_way(0), changed(truth(0), Stage.CONCLUSION, "purple")
    traces = [trace(question(0), wrong, lucky, good, "no stages")]
    whole = select(traces, Selection(most=9))
    assert [one.answer for one in whole.kept] == [good]
    assert whole.reasons == {Why.WRONG: 2, Why.MALFORMED: 1}
    loose = select(traces, Selection(most=9, stages="conclusion"))
    assert [one.answer for one in loose.kept] == [lucky, good]
    assert (whole.answers, whole.traces, loose.kept[0].rate) == (4, 1, 0.5)


def test_the_known_answer_confirms_where_there_is_no_world() -> None:
    other = Question(id="x", text="Which?", choices=("cat", "dog"), answer="B", source="aokvqa")
    said = [changed(truth(0), Stage.CONCLUSION, text) for text in ("dog", "B.", "A")]
    found = select([trace(other, *said)], Selection(by="answer", most=9))
    assert [one.answer for one in found.kept] == said[:2]
    assert found.kept[0].family == "aokvqa"
    unknown = other.model_copy(update={"answer": None})
    assert select([trace(unknown, *said)], Selection(by="answer")).reasons == {Why.UNKNOWN: 3}
    assert select([trace(other, *said)], Selection(by="world")).reasons == {Why.UNKNOWN: 3}


def test_a_judge_confirms_by_the_score_that_its_last_verdict_gave() -> None:
    good, other = truth(0), wrong_way(0)
    scored = trace(question(0), good, other, scores=(-2.0, -0.1))
    assert [one.answer for one in select([scored], Selection(by="judge", least=-0.3)).kept] == [other]
    later = Verdict(judge="reward", stage=None, order=(1, 0), scores=(-3.0, -0.2))
    again = scored.model_copy(update={"verdicts": (*scored.verdicts, later)})
    assert [one.answer for one in select([again], Selection(by="judge", least=-0.3)).kept] == [good]
    assert select([trace(question(0), good)], Selection(by="judge", least=0.0)).reasons == {Why.UNKNOWN: 1}


def test_what_a_search_dropped_counts_if_it_was_written_to_its_end() -> None:
    stages = parse(truth(0)).stages
    pieces = [render_stage(stage, text) for stage, text in stages.items()]

    def part(id: int, stage: Stage, text: str, parent: int | None) -> Candidate:
        piece = Piece(text=text)
        return Candidate(id=id, stage=stage, slot=0, seed=0, piece=piece, finish=Finish.STOP, tokens=1, parent=parent)

    candidates = (
        part(0, Stage.SUMMARY, pieces[0], None),
        part(1, Stage.CAPTION, pieces[1], 0),
        part(2, Stage.CAPTION, "<CAPTION> dropped </CAPTION>", 0),
        part(3, Stage.REASONING, pieces[2], 1),
        part(4, Stage.CONCLUSION, "<CONCLUSION> nothing </CONCLUSION>", 3),
        part(5, Stage.CONCLUSION, pieces[3], 3),
    )
    beam = trace(question(0), "x").model_copy(update={"candidates": candidates, "chosen": (0, 1, 3, 4)})
    found = select([beam], Selection())
    assert [parse(one.answer).stages for one in found.kept] == [stages]
    assert found.reasons == {Why.WRONG: 1, Why.UNFINISHED: 1}
    # What was dropped early says nothing of how hard the question is.
    assert found.kept[0].rate == 0.5


def test_alike_answers_count_once_and_a_question_gets_its_share() -> None:
    good = truth(0)
    ways = [changed(good, Stage.SUMMARY, text) for text in _summaries()]
    found = select([trace(question(0), ways[0], ways[0].replace("\n\n", "\n"), ways[1]), trace(question(0), ways[2])],
                   Selection(most=2))  # fmt: skip
    assert [one.answer for one in found.kept] == ways[:2]
    assert found.reasons == {Why.REPEATED: 1, Why.SURPLUS: 1}
    assert {one.rate for one in found.kept} == {1.0}
    assert select([trace(question(0), *ways)], Selection(easiest=0.99)).reasons == {Why.EASY: 4}
    bad = changed(good, Stage.CONCLUSION, "purple")
    assert len(select([trace(question(0), *ways, bad)], Selection(easiest=0.99, most=9)).kept) == 4


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 4), st.integers(0, 3))
def test_a_control_keeps_as_many_of_the_same_questions_whatever_is_confirmed(
    written: list[int], most: int, seed: int
) -> None:
    # Even numbers are right answers, odd ones wrong, 9 is no staged answer; equal numbers are alike.
    summaries = _summaries()

    def said(number: int) -> str:
        if number == 9:
            return "no stages"
        text = changed(truth(0), Stage.SUMMARY, summaries[number // 2 % 2])
        return changed(text, Stage.CONCLUSION, f"purple {number}") if number % 2 else text

    traces = [trace(question(0), *map(said, written))]
    selection = Selection(most=most, seed=seed, stages="conclusion")
    confirmed, control = select(traces, selection), select(traces, selection.model_copy(update={"control": True}))
    assert len(control.kept) == len(confirmed.kept)
    assert len({one.answer for one in control.kept}) == len(control.kept)
    assert all(parse(one.answer).valid for one in control.kept)
    for found in (confirmed, control):
        assert found.answers == len(written) == len(found.kept) + sum(found.reasons.values())
        assert all(count > 0 for count in found.reasons.values())


def test_a_control_draws_wrong_answers_as_often_as_they_are_there() -> None:
    good = truth(0)
    wrong = [changed(good, Stage.CONCLUSION, f"purple {number}") for number in range(3)]
    traces = [trace(question(0), good, *wrong)]
    drawn = [select(traces, Selection(control=True, seed=seed)).kept[0].answer for seed in range(200)]
    assert set(drawn) == {good, *wrong}
    assert 30 < drawn.count(good) < 70
    assert select(traces, Selection(control=True, easiest=0.2)).kept == []


def _summaries() -> tuple[str, ...]:
    from stepsight.world.programs import Program
    from stepsight.world.teacher import summaries

    return summaries(Program.from_dict(question(0).meta["program"]))


@pytest.mark.parametrize("split", ["test", "hard"])
def test_questions_to_measure_with_are_refused(split: str) -> None:
    asked = question(0, split)
    with pytest.raises(InputError, match=f"of the split {split}"):
        select([trace(asked, str(asked.meta["staged_answer"]))], Selection())
    bare = asked.model_copy(update={"meta": {key: asked.meta[key] for key in ("scene", "program")}})
    with pytest.raises(InputError, match="of the split unknown"):
        select([trace(bare, "x")], Selection())
    other = Question(id="x", text="?", answer="4", meta={"split": "val"})
    with pytest.raises(InputError, match="of the split val"):
        select([trace(other, "x")], Selection(by="answer"))


def test_rows_are_divided_evenly_among_families_and_difficulties() -> None:
    traces = [trace(question(index), truth(index), *[wrong_way(index)] * (3 * (index % 2))) for index in range(80)]
    everything = select(traces, Selection())
    assert len(everything.kept) == 80
    assert {one.difficulty for one in everything.kept} == {"easy", "medium"}
    there = Counter(one.family for one in everything.kept)
    found = select(traces, Selection(rows=24, balance=["family"]))
    counts = Counter(one.family for one in found.kept)
    assert counts.total() == 24
    assert counts == Counter(dict(zip(there, divided(24, list(there.values())), strict=True)))
    assert found.reasons == {Why.WRONG: 120, Why.BALANCE: 56}
    assert found.kept != select(traces, Selection(rows=24, balance=["family"], seed=1)).kept
    assert len(select(traces, Selection(rows=24)).kept) == 24
    both = Counter((one.family, one.difficulty) for one in select(traces, Selection(
        rows=24, balance=["family", "difficulty"])).kept)  # fmt: skip
    assert max(both.values()) - min(both.values()) <= 1


@given(st.integers(0, 60), st.lists(st.integers(0, 20), max_size=8))
def test_a_division_gives_all_there_is_and_no_group_more_than_its_share(wanted: int, there: list[int]) -> None:
    shares = divided(wanted, there)
    assert sum(shares) == min(wanted, sum(there))
    assert all(share <= count for share, count in zip(shares, there, strict=True))
    short = [share for share, count in zip(shares, there, strict=True) if share < count]
    # Who could give more has given as much as anybody, up to the remainder.
    assert all(max(shares) - share <= 1 for share in short)


@pytest.mark.parametrize("fault", [{"by": "judge"}, {"least": 1.0}, {"balance": ["family"]}])
def test_a_selection_that_makes_no_sense_is_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"least|rows"):
        Selection.model_validate(fault)


@pytest.fixture
def pictured(tmp_path: Path) -> list[Trace]:
    traces = []
    for index in range(3):
        picture = tmp_path / "drawn" / str(index) / "a.png"
        save_picture(draw_picture(pose("train", seed=77, index=index).scene), picture)
        asked = question(index).model_copy(update={"images": (picture,)})
        traces.append(trace(asked, truth(index), wrong_way(index)))
    return traces


def test_rows_are_written_with_their_pictures_and_a_manifest(pictured: list[Trace], tmp_path: Path) -> None:
    out = tmp_path / "out"
    selection = Selection()
    manifest = write_selected(select(pictured, selection), selection, out, model="pico")
    read = read_rows(out / "train.jsonl", out)
    assert not read.faults
    assert [row.exchanges for row in read.rows] == [[(question_text(question(n)), truth(n))] for n in range(3)]
    # Pictures of one name stay apart, and are the very pictures.
    for row, one in zip(read.rows, pictured, strict=True):
        assert row.image is not None
        assert (out / row.image).read_bytes() == one.question.images[0].read_bytes()
    assert len({row.image for row in read.rows}) == 3
    assert (manifest.made_by, manifest.teacher, manifest.rows) == ("select", "pico", 3)
    assert manifest.set_aside == {"wrong": 3}
    assert sum(counts["kept"] for counts in manifest.outcomes.values()) == 3
    assert read_manifest(out) == manifest
    assert check_manifest(out, manifest) == ()
    with pytest.raises(InputError, match="none of 3 answers is kept \\(3 wrong\\)"):
        write_selected(select([trace(question(0), *[wrong_way(0)] * 3)], selection), selection, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_command(pictured: list[Trace], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "run", tmp_path / "out"
    write_jsonl(folder / "traces.jsonl", pictured)
    words = ["data", "select", str(folder), "--out", str(out)]
    assert run([*words, "--stages", "conclusion", "--most", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 6
    assert len(read_jsonl(out / "train.jsonl", StagedRow)) == 6
    assert run(words) == 0
    told = capsys.readouterr()
    assert f"3 rows of 6 answers to 3 questions: {out}" in told.out
    assert "left out: 3 wrong" in told.err
    assert run([*words, "--by", "jugde"]) == 2
    assert "--by" in capsys.readouterr().err
    assert run([*words, "--by", "judge"]) == 2
    assert "least is the score" in capsys.readouterr().err
