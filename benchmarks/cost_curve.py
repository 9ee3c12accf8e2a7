"""What candidates and pictures cost: seconds and peak memory of one stage, each setting in a process of its own.

The model is the random one of 256 million parameters (benchmarks/large.py). Memory is what the process took at its peak
beyond what it held before the stage, model included in the latter (Linux: the peak is set back before the stage), and
beside it the key-values of rows and trunks alone, which the engine's buffers take.

    python benchmarks/cost_curve.py --plot docs/images/cost.svg
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CANDIDATES = (1, 2, 4, 8, 16, 32)
TILES = (0, 3, 7, 16, 32, 64)


def resident(line: str) -> int:
    """A line of this process's status in bytes: `VmRSS` is memory now, `VmHWM` its peak."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{line}:")[1].split()[0]) * 1024


def forget_peak() -> None:
    """Let the peak begin anew from what is held now (Linux, proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(candidates: int, tiles: int, tokens: int, sharing: str) -> dict[str, float]:
    """One stage: fill a prompt with a picture of `tiles` tiles, write `tokens` tokens for each candidate."""
    import torch
    from large import large_model, picture

    from stepsight.engines.transformers import TransformersEngine
    from stepsight.engines.transformers.forward import Runner
    from stepsight.engines.transformers.slots import Slots
    from stepsight.engines.transformers.thread import OneThread
    from stepsight.protocols import SampleRequest, Turn

    thread = OneThread("engine")
    model, processor = thread.call(lambda: large_model(max(tiles, 1)))
    held: list[int] = []
    step = Runner.step

    # For this run; it passes on what it is given, hence the two ignores.
    def watched(runner: Runner, slots: Slots, *given: object) -> torch.Tensor:
        made = step(runner, slots, *given)  # type: ignore[arg-type]
        held.append(slots.nbytes)
        return made

    Runner.step = watched  # type: ignore[assignment, method-assign]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        picture(max(tiles, 1)).save(path)
        images = (path,) if tiles else ()
        turns = (Turn("user", "How many of the things are left?", images),)
        with TransformersEngine(model, processor, shared_prefix=sharing, thread=thread) as engine:
            # The picture is encoded and the prompt filled once before, so that the stage itself is seen.
            asyncio.run(engine.sample(SampleRequest(turns, seeds=(0,), max_tokens=1)))
            gc.collect()
            forget_peak()
            before = resident("VmRSS")
            started = time.perf_counter()
            request = SampleRequest(turns, seeds=tuple(range(candidates)), max_tokens=tokens, temperature=1.0)
            result = asyncio.run(engine.sample(request))
            seconds = time.perf_counter() - started
    return {
        "candidates": candidates,
        "prompt_tokens": result.computed + result.cached,
        "seconds": round(seconds, 2),
        "peak_mb": round((resident("VmHWM") - before) / 2**20),
        "key_values_mb": round(max(held, default=0) / 2**20),
    }


def child(candidates: int, tiles: int, arguments: argparse.Namespace) -> dict[str, float]:
    words = [sys.executable, __file__, "--one", f"{candidates},{tiles}", "--tokens", str(arguments.tokens)]
    done = subprocess.run(
        [*words, "--shared-prefix", arguments.shared_prefix], capture_output=True, text=True, check=True
    )
    row: dict[str, float] = json.loads(done.stdout)
    print(json.dumps(row), flush=True)
    return row


def draw(by_candidates: list[dict[str, float]], by_picture: list[dict[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col")
    for column, rows, key, name in (
        (0, by_candidates, "candidates", "candidates"),
        (1, by_picture, "prompt_tokens", "tokens of prompt and picture"),
    ):
        for line, what, unit in ((0, "seconds", "seconds"), (1, "peak_mb", "MiB beyond the model")):
            axes[line, column].plot(
                [row[key] for row in rows], [row[what] for row in rows], marker="o", label="measured"
            )
            if what == "peak_mb":
                values = [row["key_values_mb"] for row in rows]
                axes[line, column].plot([row[key] for row in rows], values, marker=".", label="key-values of rows")
                axes[line, column].legend()
            axes[line, column].set_ylabel(unit)
            axes[line, column].set_ylim(bottom=0)
        axes[1, column].set_xlabel(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=30)
    parser.add_argument("--shared-prefix", default="auto")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        candidates, tiles = (int(number) for number in arguments.one.split(","))
        print(json.dumps(measure(candidates, tiles, arguments.tokens, arguments.shared_prefix)))
        return
    by_candidates = [child(candidates, 16, arguments) for candidates in CANDIDATES]
    by_picture = [child(8, tiles, arguments) for tiles in TILES]
    if arguments.plot:
        draw(by_candidates, by_picture, arguments.plot)


if __name__ == "__main__":
    main()
