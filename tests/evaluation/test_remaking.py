"""Traces made into others: in the order of the source, and with nothing lost when the process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.doubles import DreamEngine

import stepsight
from stepsight.cli.app import run
from stepsight.errors import EngineError, InputError, RecordError
from stepsight.evaluation.rejudging import rejudge, rejudged
from stepsight.evaluation.remaking import Remade, partial_of, remake, survey
from stepsight.jsonl import read_jsonl, write_jsonl
from stepsight.judges import LikelihoodJudge, VoteJudge
from stepsight.protocols import SearchSettings
from stepsight.records import Candidate, Question, Trace, Verdict
from stepsight.search import best_of_n
from stepsight.stages import Stage
from stepsight.tracefiles import read_traces, write_traces

IDENTITY = {"judge": "counting"}


@dataclass
class Counting:
    """The latest candidate first; fails at a question, and remembers what it was asked."""

    fails_at: str = ""
    asked: list[str] = field(default_factory=list)
    name: str = "counting"
    scores: bool = False
    probabilities: bool = False
    cutoff: float | None = None

    async def judge(
        self, question: Question, stage: Stage | None, chosen: Sequence[Candidate], candidates: Sequence[Candidate]
    ) -> Verdict:
        if question.id == self.fails_at:
            raise EngineError("the server went away", retryable=True)
        self.asked.append(question.id)
        return Verdict(judge=self.name, stage=stage, order=tuple(sorted((one.id for one in candidates), reverse=True)))


@pytest.fixture
async def source(tmp_path: Path) -> Path:
    traces = [
        await best_of_n(
            Question(id=f"q{one}", text="How?"), DreamEngine(), LikelihoodJudge(), SearchSettings(width=3, seed=one)
        )
        for one in range(12)
    ]
    write_jsonl(tmp_path / "traces.jsonl", traces)
    return tmp_path / "traces.jsonl"


async def remade(source: Path, out: Path, judge: Counting, **options: int) -> Remade:
    return await remake(source, out, lambda trace: rejudged(trace, judge), identity=IDENTITY, **options)  # type: ignore[arg-type]  # all are ints


async def test_the_output_is_in_the_order_of_the_source_and_what_rejudging_in_memory_gives(source: Path) -> None:
    out = source.with_name("again.jsonl")
    made = await remade(source, out, Counting(), concurrency=5)
    expected = await rejudge(read_jsonl(source, Trace), Counting())
    assert read_jsonl(out, Trace) == expected
    assert (made.traces, made.resumed) == (12, 0)
    assert made.changed == sum(
        one.chosen != other.chosen for one, other in zip(expected, read_jsonl(source, Trace), strict=True)
    )
    assert sorted(one.name for one in source.parent.iterdir()) == ["again.jsonl", "traces.jsonl"]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
async def test_a_failure_keeps_what_was_finished_and_the_next_start_asks_for_the_rest_alone(
    source: Path, suffix: str
) -> None:
    out = source.with_name(f"again{suffix}")
    first = Counting(fails_at="q7")
    with pytest.raises(EngineError, match="went away"):
        await remade(source, out, first, concurrency=1)
    assert not out.exists()
    assert first.asked == [f"q{one}" for one in range(7)]
    with partial_of(out).open("ab") as stream:
        stream.write(b'{"source": "torn')
    # Another row at the front and one that is gone: what is finished is known by what it was made from.
    traces = read_jsonl(source, Trace)
    write_jsonl(source, [traces[9], *traces[1:8]])
    second = Counting()
    made = await remade(source, out, second)
    assert sorted(second.asked) == ["q7", "q9"]
    assert (made.traces, made.resumed) == (8, 6)
    assert [one.question.id for one in read_traces(out)] == ["q9", *(f"q{one}" for one in range(1, 8))]
    assert not partial_of(out).exists()


async def test_what_was_finished_of_something_else_is_not_gone_on_with(source: Path) -> None:
    out = source.with_name("again.jsonl")
    with pytest.raises(EngineError):
        await remade(source, out, Counting(fails_at="q3"))
    kept = partial_of(out).read_bytes()
    with pytest.raises(InputError, match="other judge"):
        await remake(source, out, lambda trace: rejudged(trace, VoteJudge()), identity={"judge": "vote"})
    assert partial_of(out).read_bytes() == kept
    with pytest.raises(InputError, match="is what is read"):
        await remade(source, source, Counting())


async def test_equal_rows_are_judged_once_and_written_as_often_as_they_stand_there(source: Path) -> None:
    traces = read_jsonl(source, Trace)[:2]
    write_jsonl(source, [traces[0], traces[1], traces[0]])
    judge, out = Counting(), source.with_name("again.jsonl")
    assert (await remade(source, out, judge)).traces == 3
    assert sorted(judge.asked) == ["q0", "q1"]
    assert [one.question.id for one in read_jsonl(out, Trace)] == ["q0", "q1", "q0"]


async def test_the_first_rows_alone(source: Path) -> None:
    assert survey(source, limit=5).traces == 5
    assert (await remade(source, source.with_name("again.jsonl"), Counting(), limit=5)).traces == 5
    source.write_text("none\n")
    with pytest.raises(RecordError, match=r"holds no trace: .*line 1"):
        survey(source)


KILLED = """
import asyncio, sys, time
from pathlib import Path
from stepsight.evaluation.rejudging import rejudged
from stepsight.evaluation.remaking import remake
from stepsight.judges import VoteJudge

async def slowly(trace):
    await asyncio.sleep(0.2)
    return await rejudged(trace, VoteJudge())

asyncio.run(remake(Path(sys.argv[1]), Path(sys.argv[2]), slowly, identity={"judge": "vote"}, concurrency=2))
"""


async def test_a_killed_process_loses_nothing_that_was_finished(source: Path) -> None:
    out = source.with_name("again.jsonl")
    environment = os.environ | {"PYTHONPATH": str(Path(stepsight.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(source), str(out)], env=environment)
    partial, deadline = partial_of(out), time.monotonic() + 60
    while not (partial.exists() and partial.read_bytes().count(b"\n") >= 4):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = partial.read_bytes().count(b"\n")
    assert not out.exists()
    asked: list[str] = []

    async def rest(trace: Trace) -> Trace:
        asked.append(trace.question.id)
        return await rejudged(trace, VoteJudge())

    made = await remake(source, out, rest, identity={"judge": "vote"})
    assert (made.traces, made.resumed, len(asked)) == (12, finished, 12 - finished)
    assert read_jsonl(out, Trace) == await rejudge(read_jsonl(source, Trace), VoteJudge())


def test_the_verb_sets_bad_rows_aside_and_reads_and_writes_parquet(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traces = read_jsonl(source, Trace)
    lines = source.read_bytes().splitlines(keepends=True)
    source.write_bytes(b"".join([lines[0], b'{"no": "trace"}\n', *lines[1:]]))
    out = source.with_name("again.parquet")
    assert run(["rejudge", str(source), "--judge", "vote", "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert (result["traces"], result["set_aside"], result["resumed"]) == (12, 1, 0)
    assert "set aside: " in said.err
    assert "traces.jsonl, line 2: not a Trace" in said.err
    assert [one.question.id for one in read_traces(out)] == [one.question.id for one in traces]
    other = source.with_name("more.parquet")
    write_traces(other, read_traces(out))
    assert run(["rejudge", str(other), "--judge", "likelihood", "--out", str(out)]) == 0
    assert {one.judge for one in read_traces(out)} == {"likelihood"}


def test_the_verb_says_what_is_kept_when_it_stops_and_goes_on_for_the_same_judge_alone(
    source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = source.with_name("again.jsonl")
    command = ["rejudge", str(source), "--out", str(out), "--concurrency", "1", "--json"]

    async def failing(trace: Trace, judge: VoteJudge) -> Trace:
        if trace.question.id == "q3":
            raise EngineError("the server went away")
        return await rejudged(trace, judge)

    with monkeypatch.context() as patch:
        patch.setattr("stepsight.evaluation.rejudging.rejudged", failing)
        assert run([*command, "--judge", "vote"]) == 1
    said = capsys.readouterr().err
    assert "3 of 12 are finished and kept in" in said
    assert "the same command goes on" in said
    assert run([*command, "--judge", "likelihood"]) == 2
    assert "other judge" in capsys.readouterr().err
    assert run([*command, "--judge", "vote"]) == 0
    assert json.loads(capsys.readouterr().out)["resumed"] == 3
