"""How much sooner a stage beam answers here than the naive way does, judge included; ratios within one run.

The naive way is that of benchmarks/naive.py. Here: the same model, sampling and number of candidates, the judge asked
in both orders. Once one question at a time, once many at once.

    python benchmarks/search_speed.py --width 10 --questions 8 --together 64
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

from naive import Naive

from stepsight.assembly import LoadedModel, ModelChoice, build_judge, load_model, resolve_model
from stepsight.engines.placement import Placement
from stepsight.engines.transformers.loading import load_model as load_weights
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pico")
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--questions", type=int, default=8, help="asked one at a time, both ways")
    parser.add_argument("--together", type=int, default=64, help="asked at once, here only")
    parser.add_argument("--max-rows", type=int, default=64)
    parser.add_argument("--shared-prefix", default="auto")
    arguments = parser.parse_args()

    loaded = load_model(
        ModelChoice(arguments.model, max_rows=arguments.max_rows, shared_prefix=arguments.shared_prefix)
    )
    model, processor = load_weights(
        resolve_model(arguments.model), Placement("cpu"), revision=None, trust_remote_code=False
    )
    naive = Naive(model, processor)
    prompts = judge_prompts(loaded.card.judge_prompts)
    with tempfile.TemporaryDirectory() as folder:
        count = 1 + arguments.questions + arguments.together
        first, *questions = load_questions(save_split("test", seed=17, count=count, out=Path(folder)))
        singles, together = questions[: arguments.questions], questions[arguments.questions :]
        options = {"width": arguments.width, "most": MOST, "verdict": 4}
        # The first question warms both up.
        search(loaded, [first], arguments.width)
        naive.stage_beam(first, load_picture(first.images[0]), prompts, **options)
        naive.calls = naive.tokens = 0
        ours, slow, tokens = [], [], 0
        for question in singles:
            seconds, [trace] = search(loaded, [question], arguments.width)
            ours.append(seconds)
            tokens += trace.usage.kept + trace.usage.discarded
            started = time.perf_counter()
            naive.stage_beam(question, load_picture(question.images[0]), prompts, **options)
            slow.append(time.perf_counter() - started)
        at_once = search(loaded, together, arguments.width)[0] / max(1, len(together))
    per_question = statistics.mean(slow)
    result = {
        "width": arguments.width,
        "naive_seconds": round(per_question, 3),
        "naive_calls": naive.calls // len(singles),
        "naive_tokens": naive.tokens // len(singles),
        "one_at_a_time_seconds": round(statistics.mean(ours), 3),
        "one_at_a_time_tokens": tokens // len(singles),
        "one_at_a_time_ratio": round(per_question / statistics.mean(ours), 1),
        "together": len(together),
        "together_seconds_per_question": round(at_once, 4),
        "together_ratio": round(per_question / at_once, 1) if together else None,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
