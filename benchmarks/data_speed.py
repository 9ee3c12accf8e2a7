"""How many questions a second a build takes through its ledger, and its memory, with a teacher that takes no time.

    python benchmarks/data_speed.py --count 10000 1000000

Everything but the teacher is real: reading, prompts, parsing, filters, three commits for each question to a ledger on
disk, the rows at the end. Each count runs in a process of its own; prints one JSON line each: questions per second of
teaching, by the clock and by the processor's time (on a busy machine only the latter tells), seconds of writing the
rows, and the most memory so far at a tenth of the way and at the end. `bytes_per_question` is by how much the most
memory grew between the two, for each question: what was kept of every question, be it a line of text, would show as
hundreds. `of_bare` is the speed as a share of that of a bare loop over the questions (prompt, parse, filters; no
ledger): it says what ledger and tasks cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from stepsight.data.build_recipe import BuildRecipe
from stepsight.data.building import Progress, build, write_rows
from stepsight.data.filters import FilterSettings
from stepsight.data.ledger import LEDGER, Ledger
from stepsight.data.lessons import Lesson, read_lessons
from stepsight.data.prices import Prices
from stepsight.data.teaching import TeachingSettings, teach
from stepsight.protocols import (
    Capabilities,
    Completion,
    OnText,
    SampleRequest,
    SampleResult,
    ScoreRequest,
    ScoreResult,
)
from stepsight.records import Finish, Piece, Question
from stepsight.stages import STAGES, render

BARE = 2000
"""So many questions the bare loop takes."""


class NullTeacher:
    """Says the same sound answer to everything, at once; remembers nothing."""

    name = "null"
    capabilities = Capabilities(prefix=False, logprobs=False, images=True, seeds=False)

    def __init__(self) -> None:
        words = "the small red cube stands left of a large blue ball and behind it " * 8
        told = ("I will look for the cube.", f"I see {words}.", f"So {words}.", "7")
        text = render(dict(zip(STAGES, told, strict=True)))
        self._result = SampleResult((Completion(Piece(text=text), Finish.STOP, 300),), computed=400)

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        """After all others had their turn, as with any teacher."""
        await asyncio.sleep(0)
        return self._result

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Nothing that is measured here scores."""
        raise NotImplementedError("the null teacher does not score")


def write_questions(path: Path, count: int) -> None:
    """Questions that differ in their numbers only."""
    with path.open("w", encoding="utf-8") as stream:
        for number in range(count):
            text = f"How many small cubes stand left of ball {number}?"
            stream.write(Question(id=f"q{number}", text=text, answer="7", source="null").model_dump_json() + "\n")


def measure(count: int) -> dict[str, float]:
    """One build of `count` questions in this process."""
    recipe, engine = BuildRecipe(prices=Prices(input=1.0, output=2.0)), NullTeacher()
    early = 0

    def progress(now: Progress) -> None:
        nonlocal early
        if now.kept == count // 10:
            early = resident()

    with tempfile.TemporaryDirectory() as folder:
        questions, out = Path(folder) / "questions.jsonl", Path(folder) / "out"
        write_questions(questions, count)
        bare = asyncio.run(_bare(read_lessons(questions), engine, min(count, BARE)))
        with Ledger(out / LEDGER, recipe.card(engine.name)) as ledger:
            started, cpu = time.perf_counter(), time.process_time()
            built = asyncio.run(build(read_lessons(questions), engine, recipe, ledger, progress=progress))
            taught, cpu = time.perf_counter(), time.process_time() - cpu
            kept, _ = write_rows(ledger, out)
            written = time.perf_counter()
        assert kept == built.progress.kept == count
    most = resident()
    return {
        "questions": count,
        "per_second": round(count / (taught - started), 1),
        "per_cpu_second": round(count / cpu, 1),
        "of_bare": round(count / cpu / bare, 3),
        "rows_seconds": round(written - taught, 2),
        "rss_mib_at_a_tenth": round(early / 2**20, 1),
        "rss_mib_most": round(most / 2**20, 1),
        "bytes_per_question": round((most - early) / (count - count // 10), 1),
    }


async def _bare(lessons: Iterator[Lesson], engine: NullTeacher, count: int) -> float:
    settings, filters = TeachingSettings(), FilterSettings()
    started = time.process_time()
    for _, lesson in zip(range(count), lessons, strict=False):
        await teach(lesson, engine, settings, filters)
    return count / (time.process_time() - started)


def resident() -> int:
    """The most memory this process had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Each count in a process of its own, for the most memory of a process never sinks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, nargs="+", default=[10_000])
    options = parser.parse_args()
    if len(options.count) == 1:
        print(json.dumps(measure(options.count[0])), flush=True)
        return
    for count in options.count:
        subprocess.run([sys.executable, __file__, "--count", str(count)], check=True)


if __name__ == "__main__":
    main()
