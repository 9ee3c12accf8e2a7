"""What serving costs: throughput of many clients against that of the engine alone, and how soon the first stage comes.

The same questions of the drawn world, by the same method, `--clients` at once: once in a process that has nothing but
the engine, once over HTTP. The two take turns, so that what else runs on the machine hits both; ratios are of medians.
For the first stage one client asks at a time, with a stream.

    python benchmarks/serving_speed.py --questions 64 --clients 32 --rounds 3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from stepsight.assembly import ModelChoice, build_judge, load_model
from stepsight.protocols import SearchSettings
from stepsight.records import Question
from stepsight.search import strategy
from stepsight.testing.processes import SERVE, Served, messages, served
from stepsight.world.split import load_questions, save_split

WIDTH = 4
FRESH = 6
"""Questions for the first stage, which no cache knows."""


def parted(folder: Path) -> tuple[list[Question], list[Question]]:
    """Two questions to warm up and those for the throughput; those for the first stage."""
    questions = load_questions(folder / "questions.jsonl")
    return questions[:-FRESH], questions[-FRESH:]


def alone(folder: Path, clients: int) -> tuple[float, float]:
    """Seconds, and those of the processor, of the engine alone for all questions, so many at once."""
    model = load_model(ModelChoice())
    judge = build_judge("self", model, search="stage-beam", width=WIDTH)
    questions, _ = parted(folder)

    async def run(questions: list[Question]) -> None:
        waiting = iter(questions)

        async def work() -> None:
            for question in waiting:
                await strategy("stage-beam")(question, model.engine, judge, SearchSettings(WIDTH))

        await asyncio.gather(*(work() for _ in range(clients)))

    asyncio.run(run(questions[:2]))
    started, worked = time.perf_counter(), time.process_time()
    asyncio.run(run(questions[2:]))
    return time.perf_counter() - started, time.process_time() - worked


async def over_http(server: Served, questions: list[Question], clients: int, *, stream: bool) -> float:
    """Seconds for all questions over HTTP."""
    waiting = iter([body_of(question, stream=stream) for question in questions])
    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(timeout=1200, trust_env=False, limits=limits) as http:

        async def work() -> None:
            for body in waiting:
                reply = await http.post(f"{server.url}/chat/completions", json=body)
                reply.raise_for_status()

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(clients)))
        return time.perf_counter() - started


async def first_stage(server: Served, question: Question) -> tuple[float, float]:
    """Seconds to the first stage that was chosen, and to the end."""
    first = 0.0
    started = time.perf_counter()
    async with (
        httpx2.AsyncClient(timeout=1200, trust_env=False) as http,
        http.stream("POST", f"{server.url}/chat/completions", json=body_of(question, stream=True)) as reply,
    ):
        async for line in reply.aiter_lines():
            if not first and '"reasoning_content": "' in line:
                first = time.perf_counter() - started
    return first, time.perf_counter() - started


def processor_seconds(server: Served) -> float:
    """What a server has used of the processors; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def body_of(question: Question, *, stream: bool) -> dict[str, Any]:
    """A question as a client asks it."""
    said = messages(question.images[0].read_bytes(), question.text)
    return {"model": f"pico@stage-beam:{WIDTH}", "messages": said, "stream": stream}


def main() -> None:
    """Run, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone is not None:
        print(*alone(given.alone, given.clients))
        return
    times: dict[str, list[float]] = {"alone": [], "served": [], "streamed": []}
    worked: dict[str, list[float]] = {kind: [] for kind in times}
    shares: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_split("test", seed=7, count=given.questions + 2 + FRESH, out=folder)
        questions, fresh = parted(folder)
        for _ in range(given.rounds):
            command = [sys.executable, __file__, "--alone", name, "--clients", str(given.clients)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds, cpu = map(float, done.stdout.split())
            times["alone"].append(seconds)
            worked["alone"].append(cpu)
            # Each way has a process of its own, so that nobody finds what another has left in the caches.
            for kind in ("served", "streamed"):
                with served(SERVE, "--max-searches", str(given.clients), "--log-level", "error") as server:
                    stream = kind == "streamed"
                    asyncio.run(over_http(server, questions[:2], 2, stream=stream))
                    before = processor_seconds(server)
                    times[kind].append(asyncio.run(over_http(server, questions[2:], given.clients, stream=stream)))
                    worked[kind].append(processor_seconds(server) - before)
                    if stream:
                        for question in fresh:
                            first, whole = asyncio.run(first_stage(server, question))
                            shares.append(first / whole)
    median = {kind: statistics.median(found) for kind, found in times.items()}
    print(
        json.dumps(
            {
                "questions": given.questions,
                "clients": given.clients,
                "seconds": {kind: [round(one, 2) for one in found] for kind, found in times.items()},
                "processor_seconds": {kind: [round(one, 2) for one in found] for kind, found in worked.items()},
                "questions_a_second": {kind: round(given.questions / one, 3) for kind, one in median.items()},
                "served_to_alone": round(median["alone"] / median["served"], 3),
                "streamed_to_alone": round(median["alone"] / median["streamed"], 3),
                "first_stage_share": round(statistics.median(shares), 3),
                "first_stage_share_worst": round(max(shares), 3),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
