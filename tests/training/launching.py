"""Runs in processes of their own, by themselves or by the launchers that people use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import stepsight
from stepsight.training.checkpoints import last_checkpoint

ALONE: tuple[str, ...] = ()
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
# `--multi-gpu` is what accelerate calls several processes of one machine, on processors as well; port 0 is a free one.
ACCELERATE = (
    *("-m", "accelerate.commands.launch", "--multi-gpu", "--num-processes", "2", "--num-machines", "1"),
    *("--mixed-precision", "no", "--dynamo-backend", "no", "--main-process-port", "0"),
)
PATIENCE = 900.0
"""Seconds that a run may take on a machine that has much else to do."""


def begin(launcher: tuple[str, ...], *what: str) -> subprocess.Popen[str]:
    """Start a module (`-m`, its name, arguments) or a script, in a session of its own."""
    root = Path(__file__).parents[2]
    environment = {
        "PYTHONPATH": os.pathsep.join((str(Path(stepsight.__file__).parents[1]), str(root))),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TQDM_DISABLE": "1",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "300",
    }
    return subprocess.Popen(
        [sys.executable, *launcher, *what],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def launch(launcher: tuple[str, ...], *what: str) -> str:
    """Run a module or a script to its end, which must be a good one; what it printed."""
    process = begin(launcher, *what)
    try:
        out, said = process.communicate(timeout=PATIENCE)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, out + said
    return out


def stop_behind(process: subprocess.Popen[str], folder: Path, step: int, number: signal.Signals) -> str:
    """Send a signal to all processes of a run, as a terminal does, behind a checkpoint; what the run said."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        checkpoint = last_checkpoint(folder)
        if checkpoint is not None and step_of(checkpoint) >= step:
            os.killpg(process.pid, number)
            return process.communicate(timeout=PATIENCE)[1]
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"no checkpoint of step {step}: {process.communicate()}")


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint was saved behind."""
    return int(checkpoint.name.rpartition("-")[2])
