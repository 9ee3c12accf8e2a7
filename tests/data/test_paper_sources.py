"""The paper's ten datasets, each from a fixture in its native format: what comes out, and what is set aside and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.fixtures import native
from tests.data.fixtures.reading import aside, asked, read

from stepsight.conclusions import ballot
from stepsight.data.sources.ai2d import AI2D
from stepsight.data.sources.aokvqa import AOKVQA
from stepsight.data.sources.catalogue import catalogue
from stepsight.data.sources.chartqa import ChartQA
from stepsight.data.sources.clevr import CLEVR
from stepsight.data.sources.clevr_math import CLEVRMath
from stepsight.data.sources.docvqa import DocVQA
from stepsight.data.sources.geoqa_plus import GeoQAPlus
from stepsight.data.sources.pisc import PISC, RELATIONS
from stepsight.data.sources.scienceqa import ScienceQA
from stepsight.data.sources.sharegpt4v import ShareGPT4V
from stepsight.pictures import load_picture

PAPER = [name for name, source in catalogue().items() if source.paper_count]
PICTURED = {"image-missing", "image-empty", "image-damaged"}


def test_sharegpt4v(tmp_path: Path) -> None:
    native.sharegpt4v(tmp_path)
    rows, faults = read(ShareGPT4V(), tmp_path)
    assert [[(turn.question, turn.answer) for turn in row.turns] for row in rows] == [
        [("What is it?", "Rice.")],
        [("Who?", "A man."), ("Old?", "No.")],
    ]
    assert [row.question.id for row in rows] == ["sharegpt4v-1", "sharegpt4v-2"]  # both rows' own id is 1
    assert rows[1].question.images == (tmp_path / "vg/VG_100K/2.jpg",)
    assert aside(faults) == [
        (3, "text-only"),
        (4, "image-empty"),
        (5, "image-missing"),
        (6, "row"),
        (7, "row"),
        (8, "row"),
        (9, "image-damaged"),
        (10, "row"),
    ]


def test_chartqa_and_its_odd_labels(tmp_path: Path) -> None:
    native.chartqa(tmp_path)
    rows, faults = read(ChartQA(), tmp_path)
    assert [(row.question.text, row.question.answer, row.question.meta["dirt"]) for row in rows] == [
        ("Which two are largest?", "63, 26", ["list"]),
        ("What share likes tea?", "0.39", ["fraction"]),
        ("When was the peak?", "2021-06-15", ["date"]),
        ("How many are there?", "44362", []),
        ("Which country?", "Sri Lanka", ["blanks"]),
        ("What is the ratio?", "0.5638297872340425", ["ratio"]),
        ("Which answers?", "Yes, No", ["list"]),
        ("How many in 2018?", "11", []),
    ]
    assert rows[0].question.meta["label"] == "[63, 26]"
    assert rows[-1].turns[0].question == "How many in 2018? Answer the question using a single word or phrase."
    assert aside(faults) == [(8, "row"), (9, "image-missing"), (10, "row")]
    assert {fault.file.name for fault in faults} == {"train_human.json"}


def test_aokvqa_with_choices_and_direct_answers(tmp_path: Path) -> None:
    native.aokvqa(tmp_path)
    rows, faults = read(AOKVQA(), tmp_path)
    (row,) = rows
    assert row.question.choices == ("skateboarder", "train", "delivery", "cab")
    assert row.question.answer == "cab"
    assert row.question.meta["direct_answers"] == ["ride"] * 6 + ["taxi"] * 4
    assert row.turns[0].question == (
        "What is the man awaiting?\nA. skateboarder\nB. train\nC. delivery\nD. cab\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert row.turns[0].answer == "D"
    assert row.hint == "A train is not on the street.\nHe has bags."
    assert aside(faults) == [(2, "unanswered"), (3, "row"), (4, "image-damaged"), (5, "row")]


def test_ai2d_keyed_by_question(tmp_path: Path) -> None:
    native.ai2d(tmp_path)
    rows, faults = read(AI2D(), tmp_path)
    assert asked(rows) == [("Who eats the fox?", "hare"), ("Who is a bird?", "owl"), ("Which letter is the root?", "C")]
    assert [row.question.images[0].relative_to(tmp_path / "ai2d").as_posix() for row in rows] == [
        "images/0.png",
        "images/0.png",
        "abc_images/10.png",  # the choices are letters drawn on this one
    ]
    assert rows[2].turns[0].answer == "A"
    assert aside(faults) == [("Which letter is the leaf?", "image-missing"), ("Who?", "row"), (None, "file")]
    assert [fault.file.name for fault in faults] == ["11.png.json", "12.png.json", "100.png.json"]
    assert asked(read(AI2D(split="test"), tmp_path)[0]) == [("Of the test split?", "hare")]


def test_geoqa_plus_pickles(tmp_path: Path) -> None:
    native.geoqa_plus(tmp_path)
    rows, faults = read(GeoQAPlus(), tmp_path)
    assert [row.question.answer for row in rows] == ["70°", "35°"]
    assert rows[0].turns[0].question == "如图,∠ABC=35°,则∠AOC=()\nChoices:\nA. 35°\nB. 55°\nC. 70°\nD. 110°"
    assert [row.turns[0].answer for row in rows] == ["C", "A"]
    assert rows[0].hint == "圆心角是圆周角的两倍。"
    black, white = (load_picture(row.question.images[0]) for row in rows)
    assert (black.size, black.getpixel((0, 0)), white.getpixel((0, 0))) == ((8, 6), (0, 0, 0), (255, 255, 255))
    assert aside(faults) == [(3, "image-empty"), (4, "row"), (5, "image-damaged"), (6, "row")]


def test_scienceqa_with_and_without_pictures(tmp_path: Path) -> None:
    native.scienceqa(tmp_path)
    rows, faults = read(ScienceQA(), tmp_path)
    assert asked(rows) == [
        ("Which  is farthest north?", "Utah"),
        ("Which  is farthest north?\nContext: Read the text.\n\nA ball flew.", "Utah"),
    ]
    assert [row.turns[0].question for row in rows] == [
        "Which is farthest north?\nContext: N/A\nOptions: (A) Ohio (B) Utah",
        "Which is farthest north?\nContext: Read the text. A ball flew.\nOptions: (A) Ohio (B) Utah",
    ]
    assert rows[0].turns[0].answer == "The answer is B."
    assert rows[0].hint == "Utah is north."
    assert aside(faults) == [("2", "text-only"), ("5", "row"), ("6", "image-missing"), ("7", "row")]


def test_docvqa_with_several_answers(tmp_path: Path) -> None:
    native.docvqa(tmp_path)
    rows, faults = read(DocVQA(), tmp_path)
    (row,) = rows
    assert row.question.answer == "0.28"
    assert row.question.meta["answers"] == ["0.28", "0.28%"]
    assert row.question.images == (tmp_path / "docvqa/train/documents/ffbg0227_2.png",)
    assert row.turns[0].question.endswith("per 1000?\nAnswer the question using a single word or phrase.")
    assert aside(faults) == [(2, "unanswered"), (3, "unanswered"), (4, "image-missing"), (5, "row")]


def test_pisc_pairs(tmp_path: Path) -> None:
    native.pisc(tmp_path)
    rows, faults = read(PISC(), tmp_path)
    assert [(row.question.id, row.question.answer) for row in rows] == [
        ("pisc-13357-1-2", "professional"),
        ("pisc-13357-2-3", "no relation"),
        ("pisc-24231-1-2", "family"),
    ]
    assert "[10, 20, 110, 220] and [130, 20, 230, 220]" in rows[0].question.text
    assert rows[0].question.choices == RELATIONS
    assert rows[0].turns[0].answer == "D"
    assert aside(faults) == [("13357 1 4", "row"), ("13357 1 3", "row"), ("13357 1-3", "row"), ("555 1 2", "row")]


def test_pisc_without_a_split_file_reads_all_and_says_so(tmp_path: Path) -> None:
    native.pisc(tmp_path)
    assert PISC().find(tmp_path).rows == 7
    (tmp_path / "pisc/relationship_split/relation_trainidx.json").unlink()
    found = PISC().find(tmp_path)
    assert (found.rows, found.missing) == (
        8,
        ("pisc/relationship_split/relation_trainidx.json (all pictures are read)",),
    )
    assert read(PISC(), tmp_path)[0][-1].question.images == (tmp_path / "pisc/image/00077.jpg",)


def test_clevr(tmp_path: Path) -> None:
    native.clevr(tmp_path)
    rows, faults = read(CLEVR(), tmp_path)
    assert asked(rows) == [("Are there more cubes than spheres?", "yes"), ("How many?", "3")]
    assert rows[0].question.meta["program"] == [{"inputs": [], "function": "scene", "value_inputs": []}]
    assert aside(faults) == [(3, "unanswered"), (4, "row"), (5, "image-missing")]


def test_clevr_math_templates(tmp_path: Path) -> None:
    native.clevr_math(tmp_path)
    rows, faults = read(CLEVRMath(), tmp_path)
    assert [(row.question.meta["family"], row.question.answer) for row in rows] == [
        ("addition", "5"),
        ("subtraction", "0"),
        ("subtraction-multihop", "2"),
        ("adversarial", "4"),
    ]
    assert aside(faults) == [(5, "row"), (6, "row"), (7, "row")]


@pytest.mark.parametrize("name", PAPER)
def test_what_holds_for_every_source(name: str, tmp_path: Path) -> None:
    getattr(native, name)(tmp_path)
    source = catalogue()[name]
    found = source.find(tmp_path)
    rows, faults = read(source, tmp_path)
    counted = len(rows) + sum(fault.row is not None for fault in faults)
    assert found.rows == counted
    assert not found.missing
    assert len({row.question.id for row in rows}) == len(rows)
    assert read(source, tmp_path) == (rows, faults)
    for row in rows:
        assert row.question.source == name
        assert all(image.is_file() for image in row.question.images)
        if row.question.choices:  # the wording's letter and the question's choice are the same answer
            assert row.question.answer in row.question.choices
            assert ballot(row.question, row.question.answer or "") in "ABCDEFGH"
    for fault in faults:
        assert fault.file.is_relative_to(tmp_path)
        assert str(fault.file) in str(fault)
        assert fault.row is None or str(fault.row) in str(fault)


@pytest.mark.parametrize("name", PAPER)
def test_nothing_under_the_root_is_said_and_not_raised(name: str, tmp_path: Path) -> None:
    source = catalogue()[name]
    assert source.find(tmp_path).missing
    rows, faults = read(source, tmp_path)
    assert not rows
    assert {str(fault.reason) for fault in faults} == {"file"}


def test_a_file_cut_short_gives_the_rows_before(tmp_path: Path) -> None:
    native.chartqa(tmp_path)
    path = tmp_path / "chartqa/ChartQA Dataset/train/train_human.json"
    text = path.read_text()
    path.write_text(text[: text.index("When was")])
    rows, faults = read(ChartQA(), tmp_path)
    assert len(rows) == 3  # two before the cut, one of the other file
    assert aside(faults) == [(None, "file")]
    assert "row 3 and what follows" in str(faults[0])
    assert any("row 3 and what follows" in fault for fault in ChartQA().find(tmp_path).faults)


def test_the_counts_of_the_paper() -> None:
    assert sum(source.paper_count or 0 for source in catalogue().values()) == 99_000
    assert len(PAPER) == 10
