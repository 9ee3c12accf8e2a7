"""Several processes see together what one sees alone, and one of them writes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import stepsight
from stepsight.tracefiles import read_traces
from stepsight.training.watching.watched import Watched, read_watched

from .test_callback import WATCHING, start, write

__all__ = ["start"]

SCRIPT = Path(__file__).parent / "together.py"
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def looks(folder: Path, name: str, begin: Path, *launcher: str) -> list[Watched]:
    recipe = write(folder, name, begin, watching={**WATCHING, "losses": 9, "samples": 3})
    root = Path(__file__).parents[3]
    environment = {
        "PYTHONPATH": os.pathsep.join((str(Path(stepsight.__file__).parents[1]), str(root))),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [sys.executable, *launcher, str(SCRIPT), str(recipe)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("step 0, loss") == 1
    return read_watched(folder / name)


def test_two_processes_see_what_one_sees(start: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    alone, together = looks(tmp_path, "alone", start), looks(tmp_path, "together", start, *TWO)
    assert [one.step for one in together] == [one.step for one in alone] == [0, 1]
    # Of five batches of two rows one process has three: the other runs its last without counting anything.
    for one, other in zip(alone, together, strict=True):
        assert one.losses is not None
        assert other.losses is not None
        assert one.losses.tokens == other.losses.tokens
        assert other.losses.loss == pytest.approx(one.losses.loss, abs=1e-5)
        assert other.losses.token_accuracy == pytest.approx(one.losses.token_accuracy)
    assert together[0].answers == alone[0].answers
    written = [
        [(trace.question.id, trace.text) for trace in read_traces(tmp_path / name / "watch" / "answers-000000.jsonl")]
        for name in ("alone", "together")
    ]
    assert written[0] == written[1]
    assert len(written[0]) == 3
