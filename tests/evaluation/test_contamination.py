"""What a training set has seen of a benchmark is found by picture and text, and scores stand with and without it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.data.datasets import pairs, row, save
from tests.evaluation.suites.files import (
    Row,
    b64,
    hallusion_rows,
    mathvista_rows,
    mmbench_rows,
    mmstar_rows,
    write,
)

from stepsight.cli.app import run
from stepsight.errors import InputError
from stepsight.evaluation.contamination import Contamination, contamination, headline, with_scores
from stepsight.evaluation.scoring.readings import Ask
from stepsight.evaluation.suites import Prediction, read_suite, score, score_by_rules, write_predictions
from stepsight.world.drawing import draw_picture
from stepsight.world.split import png_of, pose, save_picture


def picture(number: int) -> Image.Image:
    return draw_picture(pose("test", seed=3, index=number).scene)


def shown(rows: Sequence[Row], numbers: dict[int, int] | None = None) -> list[dict[str, object]]:
    """The rows with pictures that have something in them, each its own; references to other rows stay."""
    return [
        {
            **one,
            "image": one["image"] if str(one["image"]).isdigit() or not one["image"] else b64(png_of(picture(place))),
        }
        for place, one in enumerate(rows)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """MMStar of six questions, and a training set that has seen four of them in different ways."""
    rows = shown(mmstar_rows(6))
    for place, one in enumerate(rows):
        one["question"] = f"What is the thing to the left of number {place} called?"
    write(tmp_path / "MMStar.tsv", rows)
    images = tmp_path / "set" / "images"
    half = picture(1).resize((100, 100), Image.Resampling.LANCZOS)
    save_picture(half, images / "one.png")
    save_picture(picture(2), images / "two.png")
    save_picture(picture(77), images / "none.png")
    options = "A. a red cube\nB. a ball\nC. a cone\nD. nothing"
    asks = [f"What is the thing to the left of number {place} called?\n{options}" for place in range(6)]
    save(
        tmp_path / "set" / "train.jsonl",
        row("other", image="images/none.png", question="What is it?"),
        row("picture", image="images/one.png", question="How many are there?"),
        row("both", image="images/two.png", question=asks[2]),
        row("text", question=asks[3]),
        {"id": "apart", "image": "images/one.png", "conversations": pairs("And?", "Yes.", asks[1], "Yes.")},
        "{",
        row("gone", image="images/gone.png", question=asks[4]),
    )
    return tmp_path


def compared(folder: Path) -> Contamination:
    return contamination(read_suite("MMStar", root=folder), [(folder / "set" / "train.jsonl", folder / "set")])


def test_questions_are_found_by_picture_by_text_or_by_both(folder: Path) -> None:
    report = compared(folder)
    seen = {one.index: one for one in report.seen}
    assert {index: one.kind for index, one in seen.items()} == {"1": "both", "2": "both", "3": "text", "4": "text"}
    assert seen["1"].rows == 2
    for one, line, name in ((seen["1"], 5, "apart"), (seen["2"], 3, "both")):
        assert one.picture_row == one.text_row
        assert one.text_row is not None
        assert (one.text_row.line, one.text_row.id) == (line, name)
    assert seen["2"].picture == "images/two.png"
    assert seen["3"].picture_row is None
    assert seen["3"].said.startswith("What is the thing")
    assert seen["3"].shared == 1
    [train] = report.train
    assert (train.rows, train.unread, train.pictures, train.unseen) == (7, 1, 4, 1)
    assert report.of("any") == {"1", "2", "3", "4"}
    assert report.of("picture") == {"1", "2"} == report.of("both")
    assert report.of("text") == report.of("any")
    assert Contamination.model_validate_json(report.model_dump_json()) == report


def test_where_different_rows_have_picture_and_text_the_kind_is_picture(folder: Path) -> None:
    text = (folder / "set" / "train.jsonl").read_text().splitlines()
    last = json.loads(text[4])
    (folder / "set" / "train.jsonl").write_text(
        "\n".join([*text[:4], json.dumps({**last, "image": "images/none.png"})])
    )
    [one] = [one for one in compared(folder).seen if one.index == "1"]
    assert one.kind == "picture"
    assert one.picture_row is not None
    assert one.text_row is not None
    assert (one.picture_row.id, one.text_row.id) == ("picture", "apart")
    assert one.rows == 2


def test_a_clean_set_has_seen_nothing(folder: Path) -> None:
    save(folder / "clean.jsonl", row("a", image="set/images/none.png"))
    report = contamination(read_suite("MMStar", root=folder), [(folder / "clean.jsonl", folder)])
    assert report.seen == ()
    assert [report.of(kind) for kind in ("picture", "text", "both", "any")] == [frozenset()] * 4


def test_scores_stand_with_and_without_the_questions(folder: Path) -> None:
    suite = read_suite("MMStar", root=folder)
    answers = [
        Prediction(index=line.index, text=line.text("answer") if int(line.index) < 3 else "E") for line in suite.lines
    ]
    answers[4] = answers[4].model_copy(update={"text": "A"})
    report = with_scores(compared(folder), suite, score_by_rules(suite, answers))
    by = {(part.without, score.exact): (part, score) for part in report.scores for score in part.scores}
    part, exact = by["any", True]
    assert (part.questions, part.left_out) == (4, 4)
    assert (exact.all.value, exact.all.n) == (4 / 6, 6)
    assert (exact.kept.value, exact.kept.n) == (1 / 2, 2)
    assert (exact.left_out.value, exact.left_out.n) == (3 / 4, 4)
    assert exact.kept.low is not None
    assert 0 < exact.kept.low < 0.5
    _, scored = by["any", False]
    assert (scored.kept.value, scored.kept.n, scored.kept.unscored) == (1.0, 1, 1)
    part, exact = by["picture", True]
    assert (part.questions, exact.kept.n, exact.left_out.value) == (2, 4, 1.0)
    assert Contamination.model_validate_json(report.model_dump_json()) == report


def test_a_text_is_read_as_among_all_of_them(tmp_path: Path) -> None:
    """With `None` alone in its column `4` would be 4.0, which is no whole number; beside a word it stays `4`."""
    write(tmp_path / "MathVista_MINI.tsv", shown(mathvista_rows()))
    suite = read_suite("MathVista_MINI", root=tmp_path)
    save(tmp_path / "train.jsonl", row("a", question=suite.lines[0].text("question") + "\n135° or 145°?"))
    report = contamination(suite, [(tmp_path / "train.jsonl", tmp_path)])
    assert [one.index for one in report.seen] == ["1"]
    texts = {"1": "135°", "2": "4", "3": "None", "4": "None", "5": "None", "6": "None"}
    answers = [Prediction(index=index, text=text) for index, text in texts.items()]
    parts = with_scores(report, suite, score_by_rules(suite, answers)).scores
    [exact] = [score for part in parts if part.without == "any" for score in part.scores if score.exact]
    assert (exact.kept.value, exact.kept.n) == (1 / 5, 5)


def test_numbers_in_a_column_with_gaps_are_what_people_write(tmp_path: Path) -> None:
    rows = [
        {
            "index": place,
            "question": f"How many cubes of {colour}?",
            "A": 3,
            "B": 4,
            "C": c,
            "answer": "A",
            "image": b64(b"x" * 99),
        }
        for place, colour, c in ((0, "red glass", 7), (1, "blue wood", ""))
    ]
    write(tmp_path / "Own.tsv", rows)
    suite = read_suite("Own", root=tmp_path)
    assert suite.lines[0].options["C"] == "7.0"
    save(tmp_path / "train.jsonl", row("a", question="How many cubes of red glass?\nA. 3\nB. 4\nC. 7"))
    report = contamination(suite, [(tmp_path / "train.jsonl", tmp_path)])
    assert [(one.index, one.kind) for one in report.seen] == [("0", "text")]
    assert len(report.unseen) == 2, "what is no picture is told"


def test_circles_are_left_out_whole(tmp_path: Path) -> None:
    rows = shown(mmbench_rows(3))
    write(tmp_path / "MMBench_DEV_EN_V11.tsv", rows)
    suite = read_suite("MMBench_DEV_EN_V11", root=tmp_path)
    options = "A. another\nB. a third\nC. a fourth\nD. thing 1"
    save(tmp_path / "train.jsonl", row("turn", question=f"What is shown in 1?\n{options}"))
    report = contamination(suite, [(tmp_path / "train.jsonl", tmp_path)])
    assert {one.index for one in report.seen} == {"1", "1000001", "2000001", "3000001"}
    save(tmp_path / "picture.jsonl", row("turn", image="turn.png"))
    save_picture(picture(2), tmp_path / "turn.png")
    by_picture = contamination(suite, [(tmp_path / "picture.jsonl", tmp_path)])
    assert {one.index for one in by_picture.seen} == {"2", "1000002", "2000002", "3000002"}, "copies show its picture"
    # One turn alone, and still all four go.
    one_turn = report.model_copy(update={"seen": report.seen[:1]})
    answers = [Prediction(index=line.index, text=line.text("answer")) for line in suite.lines]
    answers[0] = answers[0].model_copy(update={"text": "E"})
    parts = with_scores(one_turn, suite, score_by_rules(suite, answers)).scores
    [part] = [part for part in parts if part.without == "text"]
    assert (part.questions, part.left_out) == (1, 4)
    [exact] = [score for score in part.scores if score.exact]
    assert (exact.all.value, exact.all.n) == (2 / 3, 3)
    assert (exact.kept.value, exact.kept.n) == (1 / 2, 2)
    assert (exact.left_out.value, exact.left_out.n) == (1.0, 1)


def test_sets_of_hallusionbench_are_left_out_whole(tmp_path: Path) -> None:
    write(tmp_path / "HallusionBench.tsv", shown(hallusion_rows()))
    suite = read_suite("HallusionBench", root=tmp_path)
    save(tmp_path / "train.jsonl", row("a", question="Is 0 so in chart 13?"))
    report = contamination(suite, [(tmp_path / "train.jsonl", tmp_path)])
    answers = [Prediction(index=line.index, text=line.text("answer")) for line in suite.lines]
    [part] = [
        part for part in with_scores(report, suite, score_by_rules(suite, answers)).scores if part.without == "any"
    ]
    chart = [line for line in suite.lines if line.text("l2-category") == "chart"]
    assert (part.questions, part.left_out) == (2, len(chart) == 4 and 4)
    assert part.scores[0].kept.value == 1


def test_a_question_without_a_prediction_is_in_no_exact_score(folder: Path) -> None:
    suite = read_suite("MMStar", root=folder)
    answers = [Prediction(index=line.index, text=line.text("answer")) for line in suite.lines if line.index != "5"]
    parts = with_scores(compared(folder), suite, score_by_rules(suite, answers)).scores
    [exact] = [score for part in parts if part.without == "any" for score in part.scores if score.exact]
    assert (exact.all.n, exact.kept.n, exact.kept.value, exact.left_out.n) == (5, 1, 1.0, 4)


async def test_a_judge_s_scores_have_no_exact_ones(folder: Path) -> None:
    suite = read_suite("MMStar", root=folder)

    async def judge(ask: Ask) -> str | None:
        return "A"

    scores = await score(suite, [Prediction(index="0", text="hm"), Prediction(index="1", text="hm")], judge)
    report = with_scores(compared(folder), suite, scores)
    assert {score.exact for part in report.scores for score in part.scores} == {False}
    [part] = [part for part in report.scores if part.without == "any"]
    assert (part.scores[0].kept.value, part.scores[0].kept.n, part.scores[0].left_out.value) == (1.0, 1, 0.0)


def test_scores_of_other_questions_are_refused(folder: Path) -> None:
    suite = read_suite("MMStar", root=folder)
    scores = score_by_rules(suite.first(3), [])
    with pytest.raises(InputError, match="not of the 6 questions"):
        with_scores(compared(folder), suite, scores)
    with pytest.raises(InputError, match="no training set"):
        contamination(suite, [])


def test_pictures_beside_the_file_and_broken_ones(folder: Path) -> None:
    stream = io.BytesIO()
    picture(0).save(stream, "PNG")
    beside = folder / "images" / "MMStar"
    save_picture(picture(2), beside / "2.png")
    save_picture(picture(5), beside / "5.png")
    (beside / "0.png").write_bytes(stream.getvalue()[:200])
    rows: list[dict[str, Any]] = [
        {"index": place, "question": "What?", "A": "a", "B": "b", "answer": "A", "image_path": f"{place}.png"}
        for place in (0, 2, 5)
    ]
    (folder / "MMStar.tsv").unlink()
    write(folder / "MMStar_local.tsv", rows)
    report = compared(folder)
    assert [(one.index, one.kind) for one in report.seen] == [("2", "picture")]
    assert len(report.unseen) == 1
    assert "1 of the benchmark's pictures could not be compared" in "\n".join(headline(report))


def test_the_command_writes_the_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = read_suite("MMStar", root=folder)
    answers = [
        Prediction(index=line.index, text=f"<CONCLUSION> {line.text('answer')} </CONCLUSION>") for line in suite.lines
    ]
    file = folder / "m_MMStar.tsv"
    write_predictions(file, suite, answers)
    out = folder / "seen.json"
    asked = ["bench", "contamination", "mmstar", "--root", str(folder), "--train", str(folder / "set")]
    assert run([*asked, "--predictions", str(file), "--generation", "2024", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "4 of 6 questions alike by any (66.7%)" in said
    assert "without any (4 left out), conclusion, exact: 100.0% [34.2%, 100.0%] of 2; with them 100.0%" in said
    report = Contamination.model_validate_json(out.read_bytes())
    assert len(report.seen) == 4
    assert run(["bench", "score", str(file), "--root", str(folder), "--out", str(folder / "run")]) == 0
    for stored in (folder / "run", folder / "run" / "result.json"):
        capsys.readouterr()
        assert run([*asked, "--scores", str(stored), "--json"]) == 0
        told = Contamination.model_validate_json(capsys.readouterr().out)
        assert told.scores[-1].scores[-1].kept.value == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--predictions", "p.tsv", "--scores", "s.json"], "give one of them"),
        (["--generation", "2024"], "--generation is of --predictions"),
        (["--scores", "none.json"], "none.json is no result of a benchmark"),
        (["--predictions", "none.tsv"], "none.tsv cannot be read"),
    ],
)
def test_wrong_options_are_refused(
    folder: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["bench", "contamination", "mmstar", "--root", str(folder), "--train", str(folder / "set")]
    assert run([*asked, *more]) == 2
    assert said in capsys.readouterr().err
