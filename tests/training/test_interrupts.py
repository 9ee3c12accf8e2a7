"""A run that is asked to stop, or is killed, goes on to the same losses."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stepsight.training import interrupts
from stepsight.training.checkpoints import last_checkpoint
from stepsight.training.interrupts import StopWhenAsked, listen_for_stops
from stepsight.training.run import train

from .launching import ALONE, begin, step_of, stop_behind
from .runs import logged, losses, staged_rows, write


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_wish_and_a_later_one_an_order(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(number)
    stop = StopWhenAsked()
    with listen_for_stops(stop):
        assert not stop.asked
        signal.raise_signal(number)
        assert stop.asked
        signal.raise_signal(number)  # the launcher's, behind the terminal's
        monkeypatch.setattr(interrupts.time, "monotonic", lambda: time.perf_counter() + 1e9)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_a_wish_is_granted_behind_the_step_unless_it_was_the_last() -> None:
    stop, arguments = StopWhenAsked(), SimpleNamespace(device=torch.device("cpu"), world_size=1)
    for asked, step, stopped in ((False, 2, False), (True, 4, False), (True, 3, True)):
        control = SimpleNamespace(should_save=False, should_training_stop=False)
        stop.asked = asked
        stop.on_step_end(arguments, SimpleNamespace(global_step=step, max_steps=4), control)
        assert (stop.stopped, control.should_save, control.should_training_stop) == (stopped,) * 3


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_a_stopped_and_a_killed_run_go_on_to_the_same_losses(tmp_path: Path, start: dict[str, str]) -> None:
    # Dropout makes losses depend on the state of the random numbers, a worker reads ahead, adapters are kept apart.
    same: dict[str, Any] = {"start": start, "data": staged_rows(tmp_path, "pptpttpp"), "lora": {"dropout": 0.2}}
    how = {"steps": 60, "save_every": 4, "workers": 1}
    train(write(tmp_path, "whole", **same, optimisation=how))
    recipe, folder = write(tmp_path, "broken", **same, optimisation=how), tmp_path / "broken"

    behind = 0
    for number in (signal.SIGINT, signal.SIGTERM):  # to every process of the run, its workers too
        process = begin(ALONE, "-m", "stepsight", "train", str(recipe))
        said = stop_behind(process, folder, behind + 4, number)
        assert process.returncode == 130, said
        stopped = last_checkpoint(folder)
        assert stopped is not None
        assert f"stopped at {stopped}; the same command goes on from there" in said
        assert step_of(stopped) == logged(folder)[-1]["step"]
        assert not (folder / "model").exists()
        behind = step_of(stopped)

    process = begin(ALONE, "-m", "stepsight", "train", str(recipe))
    stop_behind(process, folder, behind + 4, signal.SIGKILL)
    assert not (folder / "model").exists()
    torn = folder / "checkpoint-61"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"glob', encoding="utf-8")

    train(recipe)
    assert not torn.exists()
    assert [line["step"] for line in logged(folder) if "loss" in line] == list(range(1, 61))
    assert losses(folder) == pytest.approx(losses(tmp_path / "whole"), abs=1e-4)
