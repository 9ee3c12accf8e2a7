"""Two runs compared: settings, paired differences by kind of unit, and the questions that changed sides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.test_bench import bench, model
from tests.evaluation.bench.made import made, save_all, suites
from tests.evaluation.suites.files import mmstar_rows, staged, write

from stepsight import InputError
from stepsight.assembly import LoadedModel
from stepsight.cli.app import run
from stepsight.engines.scripted import ScriptedEngine
from stepsight.evaluation.bench.comparing import compare_results
from stepsight.evaluation.statistics import paired_difference, paired_mean
from stepsight.model_folders import ModelCard
from stepsight.reports.bench.comparison import comparison_lines


async def test_shares_of_questions_are_paired_and_settings_that_differ_are_named(tmp_path: Path) -> None:
    suite = suites(tmp_path)["MMStar"]
    one, other = await made(suite, 3), await made(suite, 2, strategy="stage-beam", width=4)
    found = compare_results(one, other)
    assert {setting.name: (setting.first, setting.second) for setting in found.settings} == {
        "search.strategy": ("greedy", "stage-beam"),
        "search.width": (1, 4),
    }
    text = found.texts[1]
    first, second = ([place % wrong > 0 for place in range(12)] for wrong in (3, 2))
    assert (text.which, text.paired) == ("conclusion", paired_difference(first, second))
    assert [side.index for side in text.sides] == [str(place) for place in range(12) if first[place] != second[place]]
    assert text.mean is None


async def test_where_files_lie_is_no_setting(tmp_path: Path) -> None:
    one, other = [await made(suites(tmp_path / name)["MMStar"]) for name in ("here", "there")]
    assert compare_results(one, other).settings == ()


async def test_circles_are_paired_whole(tmp_path: Path) -> None:
    suite = suites(tmp_path)["MMBench_DEV_EN_V11"]
    right, one_turn_wrong = await made(suite, 1000), await made(suite, 5)
    found = compare_results(right, one_turn_wrong).texts[1]
    assert found.paired is not None
    # Of 24 rows place 0 alone is wrong in the first; of the second every fifth, which spoils more circles.
    assert (found.unit, found.paired.n, found.paired.only_second) == ("circles", 6, 0)
    assert found.paired.only_first == 4
    assert len(found.sides) == 4


async def test_sets_and_grades_have_a_mean_difference(tmp_path: Path) -> None:
    found = suites(tmp_path)
    hallusion = compare_results(await made(found["HallusionBench"], 3), await made(found["HallusionBench"], 2)).texts[1]
    assert hallusion.paired is None
    assert hallusion.mean is not None
    assert hallusion.mean.n == 20
    one = await made(found["MMVet"], 3)
    same = compare_results(one, one).texts[0]
    assert same.mean is not None
    assert (same.mean.value, same.mean.n, same.sides) == (0.0, 6, ())


async def test_answers_that_no_rule_can_read_are_not_compared_as_wrong(tmp_path: Path) -> None:
    suite = suites(tmp_path)["MMStar"]
    unread, read = await made(suite, wrong=1), await made(suite, wrong=3)
    with pytest.raises(InputError, match="share no question that both are scored on"):
        compare_results(unread, read)
    assert read.scores is not None
    assert unread.scores is not None
    # Only the whole answers of one could not be read, as where reasoning names several options.
    scores = read.scores.model_copy(update={"whole": unread.scores.whole})
    found = compare_results(read.model_copy(update={"scores": scores}), read)
    assert [text.which for text in found.texts] == ["conclusion"]
    assert list(comparison_lines(found, "a", "b"))[-1] == "  whole answer: no question on which both could be scored"


async def test_results_of_two_benchmarks_do_not_compare(tmp_path: Path) -> None:
    found = suites(tmp_path)
    with pytest.raises(InputError, match="one result is of MMStar, the other of AI2D_TEST"):
        compare_results(await made(found["MMStar"]), await made(found["AI2D_TEST"]))


def test_a_mean_difference_draws_whole_clusters() -> None:
    first, second = [1.0, 1.0, 0.0, 0.0] * 10, [0.0, 0.0, 0.0, 0.0] * 10
    alone = paired_mean(first, second, [str(place) for place in range(40)])
    pairs = paired_mean(first, second, [str(place // 2) for place in range(40)])
    assert alone.value == pairs.value == 0.5
    assert alone.low is not None
    assert pairs.low is not None
    assert pairs.low < alone.low - 0.03
    single = paired_mean(first, second, ["x"] * 40)
    assert (single.low, single.high) == (-1.0, 1.0)
    assert paired_mean([], [], []).value is None
    with pytest.raises(InputError, match="1 and 0 values"):
        paired_mean([1.0], [], ["x"])


def test_the_command_says_it_in_lines_as_json_and_as_a_page_with_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "LMU"
    write(root / "MMStar.tsv", mmstar_rows(12))
    one, other, page = tmp_path / "one", tmp_path / "other", tmp_path / "page.html"
    always = LoadedModel(ScriptedEngine(lambda *_: staged("B <i>")), ModelCard(name="scripted/vl"))
    assert run(bench(root, one), model=model()) == 0
    assert run(bench(root, other, "--seed", "7"), model=always) == 0
    capsys.readouterr()
    assert run(["bench", "compare", str(one), str(other), "--html", str(page)]) == 0
    out = capsys.readouterr().out
    assert "search.seed: 0 and 7" in out
    assert "CONCLUSION: +41.7 points (" in out
    assert "p = " in out
    html = page.read_text()
    assert html.count("data:image/png;base64,") >= 5
    assert "What is it in picture 2?" in html
    assert "B &lt;i&gt;" in html
    assert "<i>" not in html
    assert run(["bench", "compare", str(one / "MMStar"), str(other), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert found["texts"][1]["paired"]["only_first"] == 6


async def test_runs_without_a_benchmark_in_common_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = await save_all(tmp_path / "one", tmp_path / "LMU")
    assert run(["bench", "compare", str(one / "MMStar"), str(one / "MMVet")]) == 2
    assert "share no benchmark" in capsys.readouterr().err
