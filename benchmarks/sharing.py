"""Does sharing pay? The time of a decoding step with copies of the beginning and with one copy of it, by model size.

    python benchmarks/sharing.py                   # all sizes, about a minute
    python benchmarks/sharing.py --sizes 15 50     # some, in millions of parameters
    python benchmarks/sharing.py --search          # whole searches with pico, which are more than steps

Random LLaVAs with a plain Llama inside, float32 on the CPU, so the step is the lean one. Each case has one or several
questions of four candidates that have written 40 tokens each. One JSON object per size; `ratio` is the step with copies
over the step with sharing, so above 1 sharing is faster. Both are timed in turn, several times over; the median counts.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import sys
import time
from collections.abc import AsyncIterator
from statistics import median
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from stepsight import ModelChoice, aask
from stepsight.assembly import LoadedModel, load_model
from stepsight.cli.ask import example_picture
from stepsight.engines.transformers.families import family_of
from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.pictures import PictureShelf
from stepsight.engines.transformers.slots import Slots

QUESTIONS = (
    "How many purple objects are there?",
    "How many shiny things are left?",
    "What colour is the large cube?",
    "Are there more spheres than cubes?",
)
CANDIDATES = 4
WRITTEN = 40


class Size(NamedTuple):
    """Sizes of the language model, then of the vision tower."""

    hidden: int
    inner: int
    layers: int
    heads: int
    kept: int
    words: int
    seeing: int
    seeing_layers: int


SIZES = {
    5: Size(256, 512, 6, 8, 8, 1_000, 128, 3),
    15: Size(256, 704, 12, 8, 4, 8_000, 256, 5),
    50: Size(384, 1024, 16, 6, 2, 24_000, 384, 8),
    120: Size(512, 1376, 22, 8, 4, 32_000, 512, 8),
    256: Size(576, 1536, 30, 9, 3, 49_280, 768, 12),
}
"""By millions of parameters, roughly; the smallest has pico's shape, the largest that of SmolVLM-256M."""
CASES = [(1, 128), (8, 128), (1, 1024), (8, 1024)]
"""Questions at once, and tokens that the candidates of each have in common."""


def model_of(size: Size) -> Any:
    """A random model; its vision tower is there for its weight alone."""
    text = LlamaConfig(
        vocab_size=size.words,
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kept,
        max_position_embeddings=2048,
    )
    vision = CLIPVisionConfig(
        hidden_size=size.seeing,
        intermediate_size=4 * size.seeing,
        num_hidden_layers=size.seeing_layers,
        num_attention_heads=size.seeing // 64,
    )
    torch.manual_seed(0)
    config = cast(Any, LlavaConfig)(vision_config=vision, text_config=text, image_token_id=0)
    return cast(Any, LlavaForConditionalGeneration)(config).eval()


def seated(runner: Runner, questions: int, length: int) -> tuple[Slots, list[int]]:
    """Rows of all questions, on trunks or with copies; key-values are noise."""
    shape = runner.shape
    random = torch.Generator().manual_seed(1)
    slots = Slots(shape)
    for _ in range(questions):
        part = torch.randn((shape.layers, 2, shape.heads, length, shape.head_dim), generator=random)
        trunk = slots.plant([part]) if runner.share else None
        for _ in range(CANDIDATES):
            slots.join([] if runner.share else [part], trunk)
    return slots, [length + WRITTEN] * (questions * CANDIDATES)


def step_ms(runner: Runner, slots: Slots, lengths: list[int]) -> float:
    """Milliseconds of one step."""
    prompts: list[Any] = [SimpleNamespace(pictures=())] * len(lengths)
    tokens = [[5 + row] for row in range(len(lengths))]
    begun = time.perf_counter()
    runner.step(slots, prompts, tokens, lengths)
    return 1000 * (time.perf_counter() - begun)


@torch.inference_mode()
def measured(millions: int, repeats: int) -> dict[str, Any]:
    """All cases of one size."""
    model = model_of(SIZES[millions])
    tokenizer = SimpleNamespace(convert_ids_to_tokens=str)
    family = family_of(model.config)(model)
    shelf = PictureShelf(family, SimpleNamespace(tokenizer=tokenizer), max_bytes=0)
    copies = Runner(family, shelf, share=True)
    shares = copy.copy(copies)  # the same laid-out weights
    copies.share = False
    cases = []
    for questions, length in CASES:
        ways = [(runner, *seated(runner, questions, length)) for runner in (copies, shares)]
        for way in ways:
            step_ms(*way)
        times = [[step_ms(*way) for way in ways] for _ in range(repeats)]
        off, on = (median(column) for column in zip(*times, strict=True))
        ratio = median(one / other for one, other in times)
        found = {"off_ms": round(off, 2), "on_ms": round(on, 2), "ratio": round(ratio, 2)}
        cases.append({"questions": questions, "rows": questions * CANDIDATES, "common": length, **found})
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "lean": copies._lean is not None,
        "threads": torch.get_num_threads(),
        "cases": cases,
    }


async def searched(repeats: int, threads: int) -> AsyncIterator[dict[str, Any]]:
    """pico's stage-beam of 4 about the bundled picture, one question at a time and eight at once."""
    ways = [load_model(ModelChoice("pico", shared_prefix=way, threads=threads)) for way in ("off", "on")]

    async def seconds(model: LoadedModel, count: int) -> float:
        begun = time.perf_counter()
        asked = ((QUESTIONS[number % len(QUESTIONS)], number) for number in range(count))
        await asyncio.gather(*(aask(example_picture(), text, model=model, width=4, seed=seed) for text, seed in asked))
        return time.perf_counter() - begun

    for count in (1, 8):
        for model in ways:
            await seconds(model, count)
        times = [[await seconds(model, count) for model in ways] for _ in range(repeats)]
        off, on = (median(column) for column in zip(*times, strict=True))
        ratios = sorted(one / other for one, other in times)
        spread = [round(ratios[0], 2), round(ratios[-1], 2)]
        found = {"off_s": round(off, 3), "on_s": round(on, 3), "ratio": round(median(ratios), 2), "spread": spread}
        yield {"model": "pico", "questions": count, **found}


async def print_searches(repeats: int, threads: int) -> None:
    """Print each as it comes."""
    async for found in searched(repeats, threads):
        sys.stdout.write(json.dumps(found) + "\n")


def main() -> None:
    """Measure the sizes asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", choices=sorted(SIZES), default=sorted(SIZES))
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--search", action="store_true", help="searches with pico instead of steps")
    given = parser.parse_args()
    if given.search:
        asyncio.run(print_searches(given.repeats, given.threads))
        return
    torch.set_num_threads(given.threads)
    for millions in given.sizes:
        sys.stdout.write(json.dumps(measured(millions, given.repeats)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
