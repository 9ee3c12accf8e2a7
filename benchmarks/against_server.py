"""The same stage beam over the same model in this process and behind a server, one question at a time and many at once.

    python benchmarks/against_server.py --server http://localhost:8000/v1 --width 10 --questions 8 --together 64

benchmarks/with_vllm.sh starts a server with pico and runs this against it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from search_speed import search

from stepsight.assembly import LoadedModel, ModelChoice, load_model
from stepsight.records import Question, Trace
from stepsight.world.split import load_questions, save_split


def measure(loaded: LoadedModel, singles: list[Question], together: list[Question], width: int) -> dict[str, float]:
    """Seconds per question and tokens written per second, both ways."""
    search(loaded, singles[:1], width)
    alone = [search(loaded, [question], width) for question in singles[1:]]
    seconds, traces = search(loaded, together, width)
    return {
        "one_at_a_time_seconds": round(statistics.mean(took for took, _ in alone), 3),
        "one_at_a_time_tokens_per_second": round(
            sum(written(traces) for _, traces in alone) / sum(took for took, _ in alone)
        ),
        "together_seconds_per_question": round(seconds / len(together), 4),
        "together_tokens_per_second": round(written(traces) / seconds),
    }


def written(traces: list[Trace]) -> int:
    return sum(trace.usage.kept + trace.usage.discarded for trace in traces)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--together", type=int, default=64)
    arguments = parser.parse_args()
    ours = load_model(ModelChoice())
    theirs = load_model(ModelChoice(server=arguments.server, judge_prompts=ours.card.judge_prompts))
    with tempfile.TemporaryDirectory() as folder:
        count = 1 + arguments.questions + arguments.together
        questions = load_questions(save_split("test", seed=17, count=count, out=Path(folder)))
        singles, together = questions[: arguments.questions + 1], questions[arguments.questions + 1 :]
        here = measure(ours, singles, together, arguments.width)
        there = measure(theirs, singles, together, arguments.width)
    result = {
        "width": arguments.width,
        "together": arguments.together,
        "here": here,
        "there": there,
        "one_at_a_time_ratio": round(there["one_at_a_time_seconds"] / here["one_at_a_time_seconds"], 1),
        "together_ratio": round(there["together_seconds_per_question"] / here["together_seconds_per_question"], 1),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
