"""Ctrl-C, and the signal with which clusters end a job: the run saves a checkpoint before it stops."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAME = 2.0
"""Seconds within which another signal is taken for the same wish: a terminal sends one to every process of a run, and
its launcher passes its own on to them."""


class StopWhenAsked(TrainerCallback):
    """Ends a run behind the step in which it was asked to stop, with a checkpoint.

    Attributes:
        stopped: whether the run was ended so.
    """

    def __init__(self) -> None:
        self.asked = self.stopped = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop if any of the processes has been asked to."""
        asked = torch.tensor(float(self.asked), device=args.device)
        if args.world_size > 1:
            # A signal does not arrive everywhere in the same step.
            torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
        if asked.item() and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True


@contextmanager
def listen_for_stops(callback: StopWhenAsked) -> Iterator[None]:
    """Take the first signal as a wish to stop soon, one that comes later as one to stop at once.

    Outside of the main thread, where signals cannot be handled, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first = 0.0

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if callback.asked and time.monotonic() - first > _SAME:
            raise KeyboardInterrupt
        if not callback.asked:
            callback.asked, first = True, time.monotonic()

    before = {one: signal.signal(one, ask) for one in _SIGNALS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def spare_workers(loader: Any) -> None:
    """Let processes that load data outlive a SIGTERM that is not their own: clusters send it to all of a run.

    torch has them die of any but their parent's, and the run with them, before it can save. Where the sender of a
    signal cannot be told (macOS), nothing changes.
    """
    if hasattr(signal, "sigwaitinfo"):
        base = getattr(loader, "base_dataloader", loader)  # accelerate's holds torch's
        base.worker_init_fn = partial(_begin_spared, base.worker_init_fn)


def _begin_spared(begin: Callable[[int], None] | None, number: int) -> None:
    if begin is not None:
        begin(number)
    # Threads made from now on do not take the signal either, so that it waits for the one that asks for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=_end_for, args=(os.getppid(),), daemon=True).start()


def _end_for(parent: int) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
