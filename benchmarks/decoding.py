"""Steps of decoding against what this machine could do at most: memory bandwidth and matrix peak, in one run.

The limit of a step is the larger of the bytes of the weights over the bandwidth of reading memory, and the time of the
model's own matrix products with as many rows, one layer after the other and nothing else: as torch multiplies usually,
and with weights laid out once. To these come the multiply-adds of attention to what each row holds, at the rate of the
faster products. Beside it stands what the same multiply-adds would take at the peak of a product of 2048 x 2048, whose
weights stay in the processor's cache. What a step really takes has sampling and all overhead on top.

    python benchmarks/decoding.py --rows 16 --tiles 16
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from large import large_model, picture
from torch.nn import functional

from stepsight.engines.transformers import TransformersEngine
from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.products import Product, can_pack
from stepsight.engines.transformers.thread import OneThread
from stepsight.protocols import SampleRequest, Turn


def seconds(act: Callable[[], object], times: int = 7) -> float:
    """The fastest of several runs."""
    act()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        act()
        taken.append(time.perf_counter() - started)
    return min(taken)


@dataclass(frozen=True)
class Limits:
    """What the machine can do: bytes and multiply-adds a second, and seconds of the model's products, two ways."""

    bandwidth: float
    peak: float
    usual: float
    laid_out: float
    weights: int
    multiply_adds: int


def measure(model: Any, rows: int) -> Limits:
    """The limits of a decoding step with so many rows."""
    linear = [module.weight for module in model.model.text_model.modules() if isinstance(module, torch.nn.Linear)]
    linear.append(model.lm_head.weight)
    memory = torch.ones(256 * 2**20 // 4)
    bandwidth = memory.nbytes / seconds(memory.sum)
    some, square = torch.randn(rows, 2048), torch.randn(2048, 2048)
    inputs = {weight.shape[1]: torch.randn(rows, weight.shape[1]) for weight in linear}
    with torch.inference_mode():
        peak = some.shape[0] * square.numel() / seconds(lambda: some @ square.T)
        usual = seconds(lambda: [functional.linear(inputs[weight.shape[1]], weight) for weight in linear])
        laid_out = usual
        if can_pack(linear[0]):
            packed = [(inputs[weight.shape[1]], Product(weight.detach())) for weight in linear]
            laid_out = seconds(lambda: [product(given) for given, product in packed])
    weights = sum(weight.nbytes for weight in linear)
    return Limits(bandwidth, peak, usual, laid_out, weights, rows * sum(weight.numel() for weight in linear))


def attention_multiply_adds(model: Any, rows: int, columns: float) -> float:
    """Of queries with keys, and of weights with values, in all layers, for one token of each row."""
    text = model.config.text_config
    dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return 2.0 * rows * columns * int(text.num_hidden_layers) * int(text.num_attention_heads) * int(dim)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--tiles", type=int, default=16)
    parser.add_argument("--shared-prefix", default="auto")
    arguments = parser.parse_args()
    # The engine's thread does all that computes: another one would be in its way.
    thread = OneThread("engine")
    model, processor = thread.call(lambda: large_model(arguments.tiles))
    machine = thread.call(lambda: measure(model, arguments.rows))

    steps: list[float] = []
    lanes: list[int] = []
    step = Runner.step

    # A stopwatch around the method, for this run; it passes on what it is given, hence the two ignores.
    def timed(runner: Runner, slots: object, prompts: object, tokens: list[object], lengths: object) -> torch.Tensor:
        started = time.perf_counter()
        made = step(runner, slots, prompts, tokens, lengths)  # type: ignore[arg-type]
        steps.append(time.perf_counter() - started)
        lanes.append(len(tokens))
        return made

    Runner.step = timed  # type: ignore[assignment, method-assign]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        picture(arguments.tiles).save(path)
        with TransformersEngine(model, processor, shared_prefix=arguments.shared_prefix, thread=thread) as engine:
            turns = (Turn("user", "What is there?", (path,)),)
            request = SampleRequest(
                turns, seeds=tuple(range(arguments.rows)), max_tokens=arguments.tokens, temperature=1.0
            )
            result = asyncio.run(engine.sample(request))
            started = time.perf_counter()
            asyncio.run(engine.sample(request))
            whole = (time.perf_counter() - started) / arguments.tokens
    reading, at_peak = machine.weights / machine.bandwidth, machine.multiply_adds / machine.peak
    products = min(machine.usual, machine.laid_out)
    limit, usual_limit = max(reading, products), max(reading, machine.usual)
    prompt = result.computed + result.cached
    attention = attention_multiply_adds(model, arguments.rows, prompt + arguments.tokens / 2)
    attending = attention / (machine.multiply_adds / products)
    both = max(reading, products + attending)
    model_only = statistics.median(steps[3:])
    report = {
        "rows": arguments.rows,
        "prompt_tokens": prompt,
        "bandwidth_gb_per_s": round(machine.bandwidth / 1e9, 1),
        "peak_gflops": round(2 * machine.peak / 1e9, 1),
        "limit_ms": round(both * 1e3, 1),
        "limited_by": "bandwidth" if reading > products else "matrix products",
        "usual_products_ms": round(machine.usual * 1e3, 1),
        "laid_out_products_ms": round(machine.laid_out * 1e3, 1),
        "bandwidth_ms": round(reading * 1e3, 1),
        "cached_peak_ms": round(at_peak * 1e3, 1),
        "rows_run_apart": statistics.median(lanes[3:]),
        "model_step_ms": round(model_only * 1e3, 1),
        "whole_step_ms": round(whole * 1e3, 1),
        "attention_ms": round(attending * 1e3, 1),
        "share_of_limit": round(both / whole, 3),
        "share_without_attention": round(limit / whole, 3),
        "share_of_usual_limit": round(usual_limit / whole, 3),
        "share_of_cached_peak": round(at_peak / whole, 3),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
