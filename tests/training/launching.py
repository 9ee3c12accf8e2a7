"""Runs on two processes of this machine, by the launchers that people use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import stepsight

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
# `--multi-gpu` is what accelerate calls several processes of one machine, on processors as well; port 0 is a free one.
ACCELERATE = (
    *("accelerate.commands.launch", "--multi-gpu", "--num-processes", "2", "--num-machines", "1"),
    *("--mixed-precision", "no", "--dynamo-backend", "no", "--main-process-port", "0"),
)


def launch(launcher: tuple[str, ...], *what: str) -> subprocess.CompletedProcess[str]:
    """Run a module (`-m`, its name, arguments) or a script on two processes, and fail if it fails."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join((str(Path(stepsight.__file__).parents[1]), str(root)))
    environment = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *what],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done
