"""The report page: plots whose marks are the scores, settings side by side, nothing from outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.evaluation.bench.made import made, save_all, suites

from stepsight.cli.app import run
from stepsight.cli.bench.table import read_runs
from stepsight.evaluation.scoring.measures import Measure
from stepsight.reports.bench.figures import comparable, comparable_subset
from stepsight.reports.bench.page import page_of_runs
from stepsight.reports.bench.plot import Series, plot


def measure(value: float | None) -> Measure:
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    return Measure(value=value, low=low, high=high, n=9, unscored=0, method="wilson")


def test_a_mark_stands_where_its_score_is_between_the_ends_of_its_interval() -> None:
    drawn = plot("t", [Series("<a>", {"x": measure(0.5), "y": measure(None)}), Series("b", {"x": measure(0.25)})])
    places = [float(place) for place in re.findall(r'cx="([\d.]+)"', drawn)]
    assert places == [550.0, 385.0]  # 0 is at 220 and 1 at 880
    assert 'x1="484.0" x2="616.0"' in drawn
    assert "&lt;a&gt;, x: 50.0 (40.0 to 60.0)" in drawn
    assert "<a>" not in drawn
    assert plot("t", []) == ""


async def test_runs_stand_side_by_side_with_settings_that_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = await save_all(tmp_path / "one", tmp_path / "LMU")
    other = await save_all(tmp_path / "other", tmp_path / "LMU", wrong=2, strategy="stage-beam", width=4)
    page = page_of_runs(read_runs([one, other]))
    for words in ("one, CONCLUSION", "other, whole answer", "MMStar-R", "LLaVA-CoT + SWIRES (published)", "aAcc"):
        assert words in page
    differ = page[page.index("Settings that differ") : page.index("Settings that are alike")]
    assert "<td>search.width</td><td>1</td><td>4</td>" in differ
    assert "temperature" not in differ
    assert page.count("<svg") == 6
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert run(["bench", "page", str(one), str(other), "--html", str(tmp_path / "both.html")]) == 0
    assert (tmp_path / "both.html").read_text() == page
    assert run(["bench", "page", str(one)]) == 0
    assert "Settings that differ" not in (one / "page.html").read_text()
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "both.html"), str(one / "page.html")]


async def test_every_score_on_the_page_has_its_interval(tmp_path: Path) -> None:
    found = await made(suites(tmp_path)["HallusionBench"])
    page = page_of_runs({"run": {"HallusionBench": found}})
    cells = re.findall(r"<td>([^<]*)</td>", page[: page.index("Settings")])
    scores = [cell for cell in cells if re.match(r"[\d.]+ ?\(|none", cell)]
    assert len(scores) > 20
    assert all(re.fullmatch(r"none|[\d.]+ \([\d.]+ to [\d.]+\)", cell) for cell in scores)


async def test_what_no_rule_can_read_at_all_is_no_score_of_zero(tmp_path: Path) -> None:
    suite = suites(tmp_path)["MMStar"]
    unread = await made(suite, wrong=1)  # "perhaps" names no option
    assert {group.measure.value for group in comparable(unread, "whole")} == {None}
    subset = comparable_subset(unread, "whole")
    assert subset is not None
    assert subset.value is None
    page = page_of_runs({"run": {"MMStar": unread}})
    assert not re.search(r"(?<![\d.])0\.0 \(", page)
    assert f"whole: {unread.asked} unscored" in page
    # One answer that is read is enough for the others to count as wrong.
    read = await made(suite, wrong=len(suite.lines) - 1)
    assert comparable(read, "whole")[0].measure.value is not None
