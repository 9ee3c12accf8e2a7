"""Tables of runs beside published rows: what stands in them, and what must never be missing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.evaluation.bench.made import made, save_all, suites
from tests.evaluation.suites.files import FILES, write

from stepsight.cli.app import run
from stepsight.cli.bench.table import read_runs
from stepsight.evaluation.bench.published import FULL, SIX, SKILL_ROWS, SUBSET_ROWS
from stepsight.evaluation.bench.results import write_result
from stepsight.evaluation.suites import read_suite
from stepsight.reports.bench.tables import grids, markdown


@pytest.mark.parametrize("rows", [FULL, SUBSET_ROWS, SKILL_ROWS])
def test_published_averages_are_those_of_their_rows(rows: tuple[object, ...]) -> None:
    for row in rows:
        values = row.values  # type: ignore[attr-defined]
        assert len(values) == 7
        assert sum(values[:6]) / 6 == pytest.approx(values[6], abs=0.11)


async def test_the_six_stand_beside_the_paper_with_intervals_and_conditions(tmp_path: Path) -> None:
    run_folder = await save_all(tmp_path / "run", tmp_path / "LMU")
    found = {grid.title.partition(",")[0]: grid for grid in grids(read_runs([run_folder]))}
    assert list(found) == [
        "The six benchmarks of the paper",
        "The paper's reasoning subsets",
        "MMStar by skill",
        "Anchors",
    ]
    for grid in list(found.values())[:3]:
        ours = [row for row, published in zip(grid.rows, grid.published, strict=True) if not published]
        assert [row[0] for row in ours] == ["run, whole answer", "run, CONCLUSION"]
        cells = [cell for row in ours for cell in row[1:]]
        assert all(cell == "none" or re.fullmatch(r"[\d.]+ \([\d.]+ to [\d.]+\)", cell) for cell in cells)
        assert ours[1][-1] != "none"
        assert any("rules of 2026-06" in note and "prompts vlmevalkit-1" in note for note in grid.notes)
        assert any("at most 1024 tokens" in note for note in grid.notes)
        assert any("arXiv 2411.10440v6" in note for note in grid.notes)
    six = found["The six benchmarks of the paper"]
    paper = dict(zip(six.heads, six.rows[-1], strict=True))
    assert paper["system"] == "LLaVA-CoT + SWIRES"
    assert paper["MMStar"] == "62.5 (60.1 to 64.9)"
    assert (paper["MMVet"], paper["mean"]) == ("64.9", "65.5")


async def test_a_mean_needs_all_six_and_ai2d_without_its_mask_is_none_of_them(tmp_path: Path) -> None:
    run_folder = await save_all(tmp_path / "run", tmp_path / "LMU")
    (run_folder / "AI2D_TEST/result.json").unlink()
    write(tmp_path / "LMU/AI2D_TEST_NO_MASK.tsv", FILES["AI2D_TEST_NO_MASK"]())
    easy = await made(read_suite("AI2D_TEST_NO_MASK", root=tmp_path / "LMU"))
    write_result(run_folder / "AI2D_TEST_NO_MASK", easy)
    found = grids(read_runs([run_folder]))
    assert found[0].heads == ("system", "AI2D_TEST_NO_MASK")
    assert found[0].rows[1][1].startswith("66.7 (")
    row = dict(zip(found[1].heads, found[1].rows[1], strict=True))
    assert (row["AI2D"], row["mean"]) == ("none", "none")
    assert row["MMStar"] != "none"


async def test_without_a_grader_what_is_unscored_is_wrong(tmp_path: Path) -> None:
    result = await made(suites(tmp_path)["MMStar"])
    write_result(tmp_path / "run/MMStar", result)
    (grid, *_) = grids(read_runs([tmp_path / "run"]))
    assert dict(zip(grid.heads, grid.rows[1], strict=True))["MMStar"].startswith("66.7 (")
    assert result.scores is not None
    assert result.scores.conclusion is not None
    assert result.scores.conclusion.overall.value == 1.0  # of those that could be read


async def test_in_the_terminal_as_markdown_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = await save_all(tmp_path / "a/run", tmp_path / "LMU")
    other = await save_all(tmp_path / "b/run", tmp_path / "LMU", wrong=2, strategy="stage-beam")
    assert run(["bench", "table", str(one), str(other)]) == 0
    out = capsys.readouterr().out
    assert "a/run, CONCLUSION" in out
    assert "LLaVA-CoT + SWIRES" in out
    assert run(["bench", "table", str(one), str(other), "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert tables[0]["heads"] == ["system", *SIX, "mean"]
    assert run(["bench", "table", str(one), "--markdown"]) == 0
    out = capsys.readouterr().out
    assert "| *LLaVA-CoT + SWIRES* |" in out
    assert out.startswith(markdown(grids(read_runs([one]))[0])[:100])
    assert run(["bench", "table", str(one), str(one)]) == 2
    assert run(["bench", "table", str(tmp_path / "nothing")]) == 2
    assert "holds no result of a benchmark" in capsys.readouterr().err
