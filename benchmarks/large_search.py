"""A stage beam over a random model of 256 million parameters and a large picture, against the naive way; one run.

Each stage is `--tokens` long, for the model never writes a tag. Both ways draw the same number of candidates of the
same length per stage and compare neighbours; here in both orders, there in one (benchmarks/naive.py).

    python benchmarks/large_search.py --width 10 --tokens 60 --tiles 16
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from large import large_model, picture
from naive import Naive

from stepsight.engines.transformers import TransformersEngine
from stepsight.engines.transformers.thread import OneThread
from stepsight.protocols import SampleRequest, ScoreRequest, Turn
from stepsight.records import Piece

HEAT = 1.0
"""Temperature: at less, candidates of a random model are alike."""
TEXT = "How many of the things in the picture are left when all the small ones are gone?"


async def search(
    engine: TransformersEngine, path: Path, *, width: int, tokens: int, stages: int
) -> tuple[int, int, int]:
    """Tokens of prompts computed and reused in a search, and how many different candidates it drew."""
    turns = (Turn("user", TEXT, (path,)),)
    prefix: tuple[Piece, ...] = ()
    computed = cached = different = 0
    for stage in range(stages):
        seeds = tuple(range(stage * width, (stage + 1) * width))
        sampled = await engine.sample(SampleRequest(turns, seeds, prefix=prefix, max_tokens=tokens, temperature=HEAT))
        pieces = [completion.piece for completion in sampled.completions]
        pairs = [
            ScoreRequest((Turn("user", f"{TEXT}\n\n1. {one.text}\n\n2. {other.text}", (path,)),), ("1", "2"))
            for before, after in pairwise(pieces)
            for one, other in ((before, after), (after, before))
        ]
        scored = await engine.score(pairs)
        different += len({piece.text for piece in pieces})
        computed += sampled.computed + sum(result.computed for result in scored)
        cached += sampled.cached + sum(result.cached for result in scored)
        prefix = (*prefix, pieces[0])
    return computed, cached, different


def naive_seconds(naive: Naive, image: Any, *, width: int, tokens: int, stages: int, calls: int) -> float:
    """What the naive search would take: `calls` candidates and verdicts of the first stage are run, all cost alike.

    Later stages cost more, for the text so far is encoded again as well; that is left out, in favour of the naive way.
    """
    started = time.perf_counter()
    texts = [naive.write(TEXT, image, "", most=tokens, until=None) for _ in range(calls)]
    candidate = (time.perf_counter() - started) / calls
    started = time.perf_counter()
    for text in texts:
        naive.write(f"{TEXT}\n\n1. {text}\n\n2. {text}", image, "", most=2, until=None)
    verdict = (time.perf_counter() - started) / calls
    return stages * (width * candidate + (width - 1) * verdict)


def naive_apart(tiles: int, width: int, tokens: int, stages: int, calls: int) -> float:
    """`naive_seconds` with a model of its own, for a process of its own: two users of one are in each other's way."""
    model, processor = large_model(tiles)
    naive = Naive(model, processor, temperature=HEAT)
    return naive_seconds(naive, picture(tiles), width=width, tokens=tokens, stages=stages, calls=calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--tiles", type=int, default=16)
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument(
        "--naive-calls", type=int, default=2, help="candidates and verdicts of the naive way that are run"
    )
    parser.add_argument("--shared-prefix", default="auto")
    arguments = parser.parse_args()
    options = {"width": arguments.width, "tokens": arguments.tokens}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        given = (arguments.tiles, arguments.width, arguments.tokens, arguments.stages, arguments.naive_calls)
        slow = apart.submit(naive_apart, *given).result()
    thread = OneThread("engine")
    model, processor = thread.call(lambda: large_model(arguments.tiles))
    sharing = arguments.shared_prefix
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        picture(arguments.tiles).save(path)
        with TransformersEngine(model, processor, shared_prefix=sharing, thread=thread) as engine:
            started = time.perf_counter()
            computed, cached, different = asyncio.run(search(engine, path, stages=arguments.stages, **options))
            ours = time.perf_counter() - started
    result = {
        **options,
        "stages": arguments.stages,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "different_candidates": different,
        "prompt_tokens_computed": computed,
        "prompt_tokens_reused": cached,
        "seconds": round(ours, 1),
        "naive_seconds": round(slow, 1),
        "naive_calls_run": 2 * arguments.naive_calls,
        "naive_calls_in_all": arguments.stages * (2 * arguments.width - 1),
        "ratio": round(slow / ours, 1),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
