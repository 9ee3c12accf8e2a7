"""Benchmark files: where they are found, how rows and pictures are read, and what is said of a file that is wrong."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image
from tests.evaluation.suites.files import (
    FILES,
    ai2d_rows,
    b64,
    hallusion_rows,
    mathvista_rows,
    mmbench_rows,
    mmstar_rows,
    png,
    write,
    write_all,
)

from stepsight.errors import InputError, PictureError
from stepsight.evaluation.suites import BENCHMARKS, read_suite
from stepsight.evaluation.suites.suite import question_id
from stepsight.pictures import load_picture


def pixels(path: Path) -> bytes:
    return load_picture(path).tobytes()


def of(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB").tobytes()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_is_read_by_its_name(name: str, tmp_path: Path) -> None:
    suite = read_suite(name.lower(), root=write_all(tmp_path))
    assert suite.name == name
    questions = suite.questions()
    assert len(questions) == len(suite.lines) > 0
    assert [question.id for question in questions] == [question_id(name, line.index) for line in suite.lines]
    for question in questions:
        assert question.source == name
        assert [path.suffix for path in question.images] == [".png"]
        assert len(pixels(question.images[0])) == 12 * 10 * 3


def test_the_folder_is_that_of_the_environment_if_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LMUData", str(tmp_path / "data"))
    write(tmp_path / "home/LMUData/MMStar.tsv", mmstar_rows(3))
    assert len(read_suite("MMStar").lines) == 3  # the named folder does not exist
    write(tmp_path / "data/MMStar.tsv", mmstar_rows(5))
    assert len(read_suite("MMStar").lines) == 5
    write(tmp_path / "here/MMStar.tsv", mmstar_rows(4))
    assert len(read_suite("MMStar", root=tmp_path / "here").lines) == 4


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_missing_file_says_where_people_get_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError) as caught:
        read_suite(name, root=tmp_path)
    assert f"there is no file {tmp_path / name}.tsv" in str(caught.value)
    assert f"download {BENCHMARKS[name].url} to {tmp_path}/" in caught.value.hint
    assert BENCHMARKS[name].url.endswith(f"/{name}.tsv")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LMUData", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"LMUData names .*nowhere, which does not exist"):
        read_suite(name)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no benchmark MMStars.*MMStar, MMBench_DEV_EN_V11"):
        read_suite("MMStars", root=tmp_path)


def test_another_file_than_the_published_one_is_read_with_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "MMStar.tsv", mmstar_rows())
    suite = read_suite("MMStar", root=tmp_path)
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    assert (suite.file.md5, suite.file.published) == (digest, False)
    assert any(f"is not the published file of MMStar: its MD5 is {digest}" in notice for notice in suite.notices)
    assert "MMStar has 1500 questions with pictures, this file 12" in suite.notices
    monkeypatch.setitem(
        BENCHMARKS, "MMStar", BENCHMARKS["MMStar"].__class__("MMStar", BENCHMARKS["MMStar"].rules, md5=digest)
    )
    same = read_suite("MMStar", root=tmp_path)
    assert same.file.published is True
    assert same.notices == ()


def test_the_published_sums_are_whole(tmp_path: Path) -> None:
    # The eight that formats of the field list; a digit less would make every file "another one".
    assert {name: benchmark.md5[:8] for name, benchmark in BENCHMARKS.items()} == {
        "MMStar": "e1ecd214",
        "MMBench_DEV_EN_V11": "30c05be8",
        "MMBench_TEST_EN_V11": "8d1a704e",
        "MMVet": "748aa6d4",
        "MathVista_MINI": "f199b98e",
        "AI2D_TEST": "0f593e0d",
        "AI2D_TEST_NO_MASK": "fd8f4636",
        "HallusionBench": "0c23ac0d",
    }
    assert all(len(benchmark.md5) == 32 for benchmark in BENCHMARKS.values())


def test_rows_without_a_picture_are_dropped_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "HallusionBench.tsv", hallusion_rows())
    suite = read_suite("HallusionBench", root=tmp_path)
    assert suite.table.without_image == 4
    assert len(suite.lines) == 20
    assert not any(line.index.startswith("VS_chart_0") for line in suite.lines)
    assert "4 rows without a picture are not asked" in suite.notices


def test_each_encoding_of_a_picture_is_shown(tmp_path: Path) -> None:
    rows = [dict(row) for row in mmstar_rows(7)]
    rows[1]["image"] = f"data:image/png;base64,{b64(png(1))}"
    rows[2]["image"] = str([b64(png(2)), b64(png(22))])
    rows[3]["image"] = 5  # the picture of a row further down
    rows[4]["image"] = 2  # several pictures of a row further up
    rows[6]["image"] = b64(png(6, "LA"))
    write(tmp_path / "MMStar.tsv", rows)
    shown = [[pixels(path) for path in question.images] for question in read_suite("MMStar", root=tmp_path).questions()]
    two = [of(png(2)), of(png(22))]
    assert shown == [[of(png(0))], [of(png(1))], two, [of(png(5))], two, [of(png(5))], [of(png(6, "LA"))]]


def test_pictures_that_lie_beside_a_file_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "images/MMBench_V11"
    folder.mkdir(parents=True)
    for name in ("0.jpg", "1.jpg", "2.jpg"):
        (folder / name).write_bytes(png(int(name[0])))
    rows = [{key: value for key, value in row.items() if key != "image"} for row in mmbench_rows(3)]
    for row in rows:
        row["image_path"] = f"{int(str(row['index'])) % 1_000_000}.jpg"
    rows[1]["image_path"] = "['1.jpg', '2.jpg']"
    rows[2]["image_path"] = str(folder / "2.jpg")
    write(tmp_path / "MMBench_DEV_EN_V11_local.tsv", rows)
    suite = read_suite("MMBench_DEV_EN_V11", root=tmp_path)
    assert suite.file.published is None  # nobody publishes a sum of such a file
    zero, one, two = (folder / f"{number}.jpg" for number in range(3))
    assert [question.images for question in suite.questions()][:4] == [(zero,), (one, two), (two,), (zero,)]
    two.unlink()
    with pytest.raises(InputError, match=r"names the picture 2\.jpg, and there is none at"):
        suite.questions()
    rows[0]["image_path"] = "../../secret.png"
    write(tmp_path / "MMBench_DEV_EN_V11_local.tsv", rows)
    with pytest.raises(PictureError, match="leads out of its folder"):
        read_suite("MMBench_DEV_EN_V11", root=tmp_path).questions()


def test_names_beside_pictures_do_not_matter(tmp_path: Path) -> None:
    write(tmp_path / "MMStar.tsv", [{**row, "image_path": f"a/{row['index']}.png"} for row in mmstar_rows(2)])
    (one, two) = read_suite("MMStar", root=tmp_path).questions()
    assert [pixels(one.images[0]), pixels(two.images[0])] == [of(png(0)), of(png(1))]


def test_pictures_go_where_they_are_wanted_and_are_written_once(tmp_path: Path) -> None:
    write(tmp_path / "data/MMBench_DEV_EN_V11.tsv", mmbench_rows(2))
    suite = read_suite("MMBench_DEV_EN_V11", root=tmp_path / "data")
    questions = suite.questions(pictures=tmp_path / "pictures")
    files = sorted((tmp_path / "pictures").rglob("*.png"))
    assert len(files) == 2  # of eight questions
    assert {path for question in questions for path in question.images} == set(files)
    times = [path.stat().st_mtime_ns for path in files]
    assert suite.questions(pictures=tmp_path / "pictures") == questions
    assert [path.stat().st_mtime_ns for path in files] == times
    suite.questions()
    assert len(list((tmp_path / "data/images/stepsight").rglob("*.png"))) == 2


def test_a_camera_s_turning_is_not_applied_as_vlmevalkit_applies_none(tmp_path: Path) -> None:
    stream = io.BytesIO()
    picture = Image.frombytes("RGB", (12, 10), bytes(range(120)) * 3)
    exif = Image.Exif()
    exif[274] = 6
    picture.save(stream, "PNG", exif=exif)
    write(tmp_path / "MMStar.tsv", [{**mmstar_rows(1)[0], "image": b64(stream.getvalue())}])
    (question,) = read_suite("MMStar", root=tmp_path).questions()
    assert load_picture(question.images[0]).size == (12, 10)
    assert pixels(question.images[0]) == picture.tobytes()


def test_what_is_transparent_shows_the_colour_under_it_as_vlmevalkit_shows_it(tmp_path: Path) -> None:
    stream = io.BytesIO()
    picture = Image.new("RGB", (12, 10), (10, 20, 30))
    picture.save(stream, "PNG", transparency=(10, 20, 30))
    with Image.open(io.BytesIO(stream.getvalue())) as saved:
        assert saved.info["transparency"] == (10, 20, 30)
    clear = Image.new("RGBA", (12, 10), (10, 20, 30, 0))
    other = io.BytesIO()
    clear.save(other, "PNG")
    rows = [dict(row) for row in mmstar_rows(2)]
    rows[0]["image"], rows[1]["image"] = b64(stream.getvalue()), b64(other.getvalue())
    write(tmp_path / "MMStar.tsv", rows)
    for question in read_suite("MMStar", root=tmp_path).questions():
        assert pixels(question.images[0]) == picture.tobytes()


def test_a_damaged_picture_is_named_by_its_row(tmp_path: Path) -> None:
    rows = [dict(row) for row in mmstar_rows(3)]
    rows[1]["image"] = b64(b"no picture at all, though long enough to be one of some kind")
    write(tmp_path / "MMStar.tsv", rows)
    suite = read_suite("MMStar", root=tmp_path)
    with pytest.raises(PictureError, match=r"MMStar\.tsv, row 2: not a picture"):
        suite.questions()
    assert len(suite.first(1).questions()) == 1


def test_broken_rows_are_named_before_anything_is_asked(tmp_path: Path) -> None:
    rows = [dict(row) for row in mmstar_rows(6)]
    for place in range(5):
        rows[place]["image"] = "!" * 80
    write(tmp_path / "MMStar.tsv", rows)
    with pytest.raises(InputError, match=r"row 1: its image is no base64.*row 3.*\(and 2 more\)"):
        read_suite("MMStar", root=tmp_path)
    write(tmp_path / "MMStar.tsv", [*mmstar_rows(2), mmstar_rows(1)[0]])
    with pytest.raises(InputError, match="has the index 0 more than once"):
        read_suite("MMStar", root=tmp_path)
    write(tmp_path / "MMStar.tsv", mmstar_rows(1)[:0], columns=list(mmstar_rows(1)[0]))
    with pytest.raises(InputError, match="has no rows"):
        read_suite("MMStar", root=tmp_path)


@pytest.mark.parametrize(
    ("name", "column"),
    [("MMStar", "A"), ("HallusionBench", "l2-category"), ("MathVista_MINI", "answer_option"), ("MMVet", "category")],
)
def test_a_missing_column_is_named(name: str, column: str, tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != column} for row in FILES[name]()]
    write(tmp_path / f"{name}.tsv", rows)
    with pytest.raises(InputError, match=f"has no column {column}, which {name} has"):
        read_suite(name, root=tmp_path)


def test_indices_and_choices_of_another_form_are_refused_at_once(tmp_path: Path) -> None:
    write(tmp_path / "MMBench_DEV_EN_V11.tsv", [{**mmbench_rows(1)[0], "index": "a1"}])
    with pytest.raises(InputError, match=r"row 1: the index 'a1' is no whole number \(MMBench_DEV_EN_V11 is scored"):
        read_suite("MMBench_DEV_EN_V11", root=tmp_path)
    write(tmp_path / "MMBench_DEV_EN_V11.tsv", [{**mmbench_rows(1)[0], "g_index": "a1"}])
    with pytest.raises(InputError, match="row 1: the g_index 'a1' is no whole number"):
        read_suite("MMBench_DEV_EN_V11", root=tmp_path)
    write(tmp_path / "HallusionBench.tsv", [{**hallusion_rows()[8], "index": "VD_illusion_1"}])
    with pytest.raises(InputError, match="row 1: the index 'VD_illusion_1' is none of HallusionBench"):
        read_suite("HallusionBench", root=tmp_path)
    write(tmp_path / "MathVista_MINI.tsv", [{**mathvista_rows()[0], "choices": "red, blue"}])
    with pytest.raises(InputError, match="row 1: the choices 'red, blue' are no list"):
        read_suite("MathVista_MINI", root=tmp_path)


def test_cells_are_as_pandas_reads_them(tmp_path: Path) -> None:
    rows = [dict(row) for row in ai2d_rows(3)]
    for row, a, b, c in zip(rows, ("4", "", "7"), ("05", "6", "7"), ("NA", "none", "n/a"), strict=True):
        row.update({"A": a, "B": b, "C": c})
    write(tmp_path / "AI2D_TEST.tsv", rows)
    first, second, third = read_suite("AI2D_TEST", root=tmp_path).lines
    assert first.options == {"A": "4.0", "B": "5", "D": "seed"}
    assert second.options == {"B": "6", "C": "none", "D": "seed"}
    assert third.options == {"A": "7.0", "B": "7", "D": "seed"}


def test_an_option_that_disappears_leaves_the_question_without_numbered_choices(tmp_path: Path) -> None:
    rows = [dict(row) for row in ai2d_rows(2)]
    rows[0]["C"] = "None"
    write(tmp_path / "AI2D_TEST.tsv", rows)
    first, second = read_suite("AI2D_TEST", root=tmp_path).questions()
    assert first.choices == ()
    assert "C." not in first.meta["wording"]
    assert "D. seed" in first.meta["wording"]
    assert second.choices == ("leaf", "root", "stem", "seed")


def test_column_names_are_read_in_any_case_but_for_options(tmp_path: Path) -> None:
    rows = [
        {{"question": "Question", "category": "Category"}.get(key, key): value for key, value in row.items()}
        for row in ai2d_rows(2)
    ]
    write(tmp_path / "AI2D_TEST.tsv", rows)
    suite = read_suite("AI2D_TEST", root=tmp_path)
    assert suite.lines[0].text("category") == "foodChains"
    assert suite.table.columns[1] == "Question"


def test_the_first_questions_stay_with_those_they_are_scored_with(tmp_path: Path) -> None:
    write_all(tmp_path)
    bench = read_suite("MMBench_DEV_EN_V11", root=tmp_path).first(2)
    assert sorted(int(line.index) for line in bench.lines) == [
        turn * 1_000_000 + group for turn in range(4) for group in range(2)
    ]
    assert "only the first 8 of 12 questions" in bench.notices
    hallusion = read_suite("HallusionBench", root=tmp_path).first(1)
    assert {line.index.rsplit("_", 2)[0].split("_", 3)[3] for line in hallusion.lines} == {"13"}
    assert len(hallusion.lines) == 4
    # The two families of `ocr` share their groups, so they stay together too.
    ocr = read_suite("HallusionBench", root=tmp_path).first(12)
    assert {line.index[:6] for line in ocr.lines if "ocr" in line.index} == {"VS_ocr", "VD_ocr"}
    assert len(read_suite("MMStar", root=tmp_path).first(5).lines) == 5
    with pytest.raises(InputError, match="0 questions are none"):
        bench.first(0)


def test_answers_may_be_withheld(tmp_path: Path) -> None:
    write_all(tmp_path)
    assert read_suite("MMBench_DEV_EN_V11", root=tmp_path).answered
    test = read_suite("MMBench_TEST_EN_V11", root=tmp_path)
    assert not test.answered
    assert "MMBench_TEST_EN_V11 holds no answers for some of its questions, so it cannot be scored here" in test.notices
    assert test.questions()[0].answer is None
