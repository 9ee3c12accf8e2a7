"""Builds over a Ray cluster whose nodes, or whose driver, are killed, held against what the teacher says it has sent.

Shared by the test and `benchmarks/data_ray.py`.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.data.kills import Kills, Teacher, environment, faults_of_rows, received

from stepsight.jsonl import write_jsonl
from stepsight.records import Question

DRIVER = """
import sys; sys.modules["torch"] = None; sys.modules["transformers"] = None
import asyncio, json
from functools import partial
from pathlib import Path
from stepsight.cli.data.executors import served
from stepsight.data.build_recipe import BuildRecipe
from stepsight.data.building import build, write_rows
from stepsight.data.cluster import joined, leased, places
from stepsight.data.ledger import LEDGER, Ledger
from stepsight.data.lessons import read_lessons
from stepsight.engines.openai import ProbeReport
questions, out, url, window = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
report = ProbeReport(url=url, model="teacher", at="now")
recipe = BuildRecipe(window=window)

async def work(nodes, ledger):
    make = partial(served, url, "teacher", 600.0, report, "")
    async with leased("openai:teacher", report.capabilities, make, places(nodes, None)) as engine:
        while engine.ready < len(nodes):
            await asyncio.sleep(0.01)
        built = await build(read_lessons(questions), engine, recipe, ledger)
        print(json.dumps({"lost": engine.losses, **vars(built.progress)}), flush=True)

with Ledger(out / LEDGER, recipe.card("openai:teacher")) as ledger, joined() as nodes:
    asyncio.run(work(nodes, ledger))
    write_rows(ledger, out)
"""
"""A build through workers, without the probe, which would take longer than the run."""


@dataclass
class Nodes:
    """A cluster in a process of its own."""

    process: subprocess.Popen[str]
    count: int
    address: str
    logs: Path

    def kill_one(self) -> bool:
        """Kill a node that is not the head; whether there was one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        killed = self.process.stdout.readline() == "killed\n"
        self.count -= killed
        return killed

    def logged(self) -> str:
        """All that the nodes have logged."""
        return "".join(path.read_text(errors="replace") for path in self.logs.rglob("*") if path.is_file())


@contextmanager
def cluster(count: int, **variables: str) -> Iterator[Nodes]:
    """So many nodes on this machine, with these environment variables."""
    code = [sys.executable, str(Path(__file__).with_name("ray_nodes.py")), str(count)]
    told = environment() | variables
    process = subprocess.Popen(
        code, env=told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, "the cluster did not start"
        yield Nodes(process, count, address, Path(process.stdout.readline().strip()))
    finally:
        process.stdin.close()
        process.wait(120)
        process.stdout.close()


@dataclass
class Run:
    """Drivers over the same questions, one after the other."""

    folder: Path
    nodes: Nodes
    teacher: Teacher
    count: int
    window: int = 6

    def start(self) -> subprocess.Popen[str]:
        """A driver, which begins once it has all its workers."""
        questions = self.folder / "questions.jsonl"
        asked = [Question(id=f"q{n}", text=f"Which number has q{n}?", answer=str(n)) for n in range(self.count)]
        write_jsonl(questions, asked)
        code = [sys.executable, "-c", DRIVER, str(questions), str(self.folder / "out"), self.teacher.url]
        told = environment() | {"RAY_ADDRESS": self.nodes.address}
        return subprocess.Popen([*code, str(self.window)], env=told, stdout=subprocess.PIPE, text=True)

    @contextmanager
    def halfway(self, child: subprocess.Popen[str]) -> Iterator[None]:
        """While the block runs all workers wait for replies."""
        held = -1
        # Not always a whole window: an engine lets the first request with a new beginning go before its like.
        while self.teacher.flow.is_set() or self.teacher.held != held or held < self.nodes.count:
            assert child.poll() is None, "the run is over"
            held = self.teacher.held
            time.sleep(0.5)
        yield
        self.teacher.flow.set()

    def finish(self, child: subprocess.Popen[str]) -> dict[str, float]:
        """Wait for its end; what it said of itself."""
        said, _ = child.communicate()
        assert child.returncode == 0, said
        told: dict[str, float] = json.loads(said.splitlines()[-1])
        return told

    def faults(self) -> list[str]:
        """Rows lost or doubled, replies that the ledger and the teacher do not agree on."""
        return faults_of_rows(self.folder / "out", self.count, self.teacher)


def rows_of(out: Path) -> list[dict[str, object]]:
    """What was written, without the numbers of the replies."""
    text = (out / "train.jsonl").read_text()
    return [json.loads(re.sub(r"serial \d+", "serial", line)) for line in text.splitlines()]


def undisturbed(run: Run) -> tuple[Kills, dict[str, float]]:
    """One run that nobody kills."""
    told = run.finish(run.start())
    return _judged(run, Kills(), set(), Counter()), told


def node_killed(run: Run) -> tuple[Kills, dict[str, float]]:
    """One run, a node of which is killed in the middle."""
    run.teacher.hold_after = run.count // 2
    child = run.start()
    with run.halfway(child):
        # The ledger is locked by its driver; what it has written is not.
        held = shutil.copytree(run.folder / "out", run.folder / "copied")
        known, before = received(held), Counter(run.teacher.asked)
        assert known
        found = Kills(killed=run.nodes.kill_one())
    told = run.finish(child)
    return _judged(run, found, known, before), told


def driver_killed(run: Run) -> tuple[Kills, dict[str, float]]:
    """One run, the driver of which is killed in the middle, and another that goes on."""
    run.teacher.hold_after = run.count // 2
    child = run.start()
    with run.halfway(child):
        child.send_signal(signal.SIGKILL)
        found = Kills(killed=child.wait() == -signal.SIGKILL)
        assert child.stdout is not None
        child.stdout.close()
        known, before = received(run.folder / "out"), Counter(run.teacher.asked)
        assert known
    told = run.finish(run.start())
    return _judged(run, found, known, before), told


WAYS: Mapping[str, Callable[[Run], tuple[Kills, dict[str, float]]]] = {
    "undisturbed": undisturbed,
    "driver killed": driver_killed,
    "node killed": node_killed,
}


def _judged(run: Run, found: Kills, known: set[int], before: Counter[str]) -> Kills:
    asked, sent = run.teacher.asked, run.teacher.sent
    again = [serial for serial in known if asked[sent[serial]] > before[sent[serial]]]
    if again:
        found.faults.append(f"paid again for replies {again}, which had been received")
    found.sent, found.repeated = len(sent), len(sent) - len(asked)
    found.faults += run.faults()
    return found
