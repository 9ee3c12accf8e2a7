"""How much sooner a stage beam answers here than the naive way does, judge included; ratios within one run.

The naive way is that of benchmarks/naive.py. Here: the same model, sampling and number of candidates, the judge asked
in both orders. Once one question at a time, once many at once, there in as many processes as `--replicas` says.

    python benchmarks/search_speed.py --width 10 --questions 8 --together 64 --replicas 2
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from naive import Naive

from stepsight.assembly import LoadedModel, ModelChoice, build_judge, load_model
from stepsight.engines.placement import MAX_ROWS, Placement
from stepsight.engines.transformers.loading import load_model as load_weights
from stepsight.model_folders import resolve_model
from stepsight.pictures import load_picture
from stepsight.prompts.judge import judge_prompts
from stepsight.protocols import SearchSettings
from stepsight.records import Question, Trace
from stepsight.search import strategy
from stepsight.world.split import load_questions, save_split

MOST = 400


def search(loaded: LoadedModel, questions: list[Question], width: int) -> tuple[float, list[Trace]]:
    """Seconds for all questions at once, and their traces."""
    judge = build_judge("self", loaded, search="stage-beam", width=width)
    settings = SearchSettings(width=width, max_tokens=MOST)

    async def run() -> list[Trace]:
        beam = strategy("stage-beam")
        return list(await asyncio.gather(*(beam(question, loaded.engine, judge, settings) for question in questions)))

    started = time.perf_counter()
    traces = asyncio.run(run())
    return time.perf_counter() - started, traces


def search_naively(model: str, folder: Path, width: int, count: int, prompts: str) -> dict[str, float]:
    """Seconds, calls and tokens a question of the naive way, the first of `count` questions only warming it up.

    In a process of its own: threads of two users of the processor in one process are in each other's way.
    """
    weights, processor = load_weights(resolve_model(model), Placement("cpu"), revision=None, trust_remote_code=False)
    naive = Naive(weights, processor)
    seconds = []
    for number, question in enumerate(load_questions(folder / "questions.jsonl")[:count]):
        started = time.perf_counter()
        picture = load_picture(question.images[0])
        naive.stage_beam(question, picture, judge_prompts(prompts), width=width, most=MOST, verdict=4)
        seconds.append(time.perf_counter() - started)
        if not number:
            naive.calls = naive.tokens = 0
    asked = count - 1
    return {"seconds": sum(seconds[1:]) / asked, "calls": naive.calls // asked, "tokens": naive.tokens // asked}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pico")
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--questions", type=int, default=8, help="asked one at a time, both ways")
    parser.add_argument("--together", type=int, default=64, help="asked at once, here only")
    parser.add_argument("--max-rows", type=int, default=MAX_ROWS)
    parser.add_argument("--shared-prefix", default="auto")
    parser.add_argument("--draft-tokens", type=int, default=None)
    parser.add_argument("--replicas", type=int, default=2, help="processes that answer many at once")
    arguments = parser.parse_args()

    choice = ModelChoice(
        arguments.model,
        max_rows=arguments.max_rows,
        shared_prefix=arguments.shared_prefix,
        draft_tokens=arguments.draft_tokens,
    )
    loaded = load_model(choice)
    asked = arguments.questions
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        questions = load_questions(save_split("test", seed=17, count=1 + asked + arguments.together, out=folder))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
            prompts = loaded.card.judge_prompts or "paper-1"
            slow = apart.submit(search_naively, arguments.model, folder, arguments.width, 1 + asked, prompts).result()
        # The first question warms up.
        search(loaded, questions[:1], arguments.width)
        seconds, tokens = 0.0, 0
        for question in questions[1 : 1 + asked]:
            taken, [trace] = search(loaded, [question], arguments.width)
            seconds += taken / asked
            tokens += (trace.usage.kept + trace.usage.discarded) // asked
        together = questions[1 + asked :]
        if arguments.replicas > 1:
            loaded = load_model(replace(choice, replicas=arguments.replicas))
            # One for each replica warms up.
            search(loaded, questions[: arguments.replicas], arguments.width)
        at_once = search(loaded, together, arguments.width)[0] / max(1, len(together))
    result = {
        "width": arguments.width,
        "naive_seconds": round(slow["seconds"], 3),
        "naive_calls": slow["calls"],
        "naive_tokens": slow["tokens"],
        "one_at_a_time_seconds": round(seconds, 3),
        "one_at_a_time_tokens": tokens,
        "one_at_a_time_ratio": round(slow["seconds"] / seconds, 1),
        "together": len(together),
        "replicas": arguments.replicas,
        "together_seconds_per_question": round(at_once, 4),
        "together_ratio": round(slow["seconds"] / at_once, 1) if together else None,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
