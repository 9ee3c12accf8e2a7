"""`stepsight curves` draws runs side by side and says where they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from tests.training.watching.test_watched import TRACES, look

from stepsight.cli.app import run
from stepsight.jsonl import append_jsonl
from stepsight.training.watching import curves
from stepsight.training.watching.curves import MOST_RUNS, draw_curves, read_run
from stepsight.training.watching.watched import WATCH, sum_up


def watched(folder: Path, *, answers: bool = True) -> Path:
    folder.mkdir(parents=True)
    append_jsonl(folder / WATCH, [look(step, sum_up(TRACES, {}) if answers else None) for step in (0, 10, 20)])
    lines = [json.dumps({"step": step, "loss": 1.0 / step, "learning_rate": 1e-3}) for step in (5, 10, 15)]
    eval_line = json.dumps({"step": 10, "eval_loss": 0.5})
    (folder / "log.jsonl").write_text("\n".join([*lines, eval_line, '{"step": 20, "lo']) + "\n")
    return folder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: object, **options: object) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def test_a_run_is_drawn_into_its_folder(
    tmp_path: Path, drawn: list[Figure], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = watched(tmp_path / "one")
    assert run(["curves", str(folder)]) == 0
    out = capsys.readouterr().out
    for said in ("accuracy (95 % interval)", "20.0% (3.6 to 62.4)", "caption", "0.5000", "66.7%", "3 missing"):
        assert said in out
    assert f"wrote {folder / 'curves.png'}" in out
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    axes: Any = drawn[0].axes
    losses, _, answers, training, rate = axes
    (caption,) = losses.lines
    assert caption.get_xydata().tolist() == [[0, 0.5], [10, 0.5], [20, 0.5]]
    assert [line.get_label() for line in answers.lines] == ["format valid", "accuracy", "accuracy, any format"]
    assert answers.lines[1].get_ydata().tolist() == [0.2, 0.2, 0.2]
    band = answers.collections[1].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.0362, 0.6245), abs=1e-4)
    # The log's lines of training alone: no look, and none that was cut short.
    assert training.lines[0].get_xydata().tolist() == [[5, 0.2], [10, 0.1], [15, 1 / 15]]
    assert rate.lines[0].get_ydata().tolist() == [1e-3] * 3


def test_the_same_run_is_drawn_the_same(tmp_path: Path) -> None:
    one = read_run(watched(tmp_path / "one"))
    first, second = ([path.read_bytes() for path in draw_curves([one], tmp_path / where)] for where in ("a", "b"))
    assert first == second


def test_runs_stand_side_by_side(tmp_path: Path, drawn: list[Figure], capsys: pytest.CaptureFixture[str]) -> None:
    folders = [watched(tmp_path / "a" / "run"), watched(tmp_path / "b" / "run", answers=False)]
    assert run(["curves", *map(str, folders), "--out", str(tmp_path / "both"), "--json"]) == 0
    looks = json.loads(capsys.readouterr().out)
    # Runs of one name are told apart by their folders.
    assert list(looks) == [str(folder) for folder in folders]
    assert [one["step"] for one in looks[str(folders[0])]] == [0, 10, 20]
    titled = [axes.get_title() for axes in drawn[0].axes if axes.get_title()]
    assert titled == [str(folder) for folder in folders]
    assert (tmp_path / "both" / "curves.svg").is_file()


def test_what_cannot_be_drawn_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = watched(tmp_path / "one")
    assert run(["curves", str(tmp_path)]) == 2
    assert "holds no watch.jsonl (give the recipe `watching`" in capsys.readouterr().err
    assert run(["curves", str(folder), str(folder)]) == 2
    assert "--out FOLDER" in capsys.readouterr().err
    assert run(["curves", *[str(folder)] * (MOST_RUNS + 1), "--out", str(tmp_path)]) == 2
    assert "side by side" in capsys.readouterr().err
    monkeypatch.setattr(curves, "find_spec", lambda name: None)
    assert run(["curves", str(folder)]) == 1
    assert "stepsight[train]" in capsys.readouterr().err
