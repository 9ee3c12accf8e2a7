"""Two runs never write the same files, and a run that was killed keeps nobody out."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock
from tests.doubles import DreamEngine

from stepsight.errors import InputError
from stepsight.evaluation import evaluate
from stepsight.evaluation.remaking import partial_of, remake
from stepsight.locks import alone
from stepsight.protocols import SearchSettings
from stepsight.records import Question, Trace
from stepsight.search import greedy

HOLD = """
import sys
from pathlib import Path
from stepsight.locks import alone

with alone(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""
QUESTIONS = [Question(id=name, text=f"What is {name}?", answer="x") for name in "abc"]


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process is alone in `path`, until it is killed."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "in\n"
            yield child
        finally:
            child.kill()


def answer(out: Path) -> None:
    asyncio.run(evaluate(QUESTIONS, DreamEngine(), None, greedy, SearchSettings(), out=out))


def test_who_comes_second_is_told_so_and_a_killed_one_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "new" / "traces.jsonl"
    with another_process(path) as child:
        with pytest.raises(InputError, match="another process writes to"), alone(path):
            pass
        with alone(tmp_path / "new" / "others.jsonl"), alone(None), alone(None):
            pass
        child.kill()
        child.wait()
        with alone(path):
            pass
    assert list(path.parent.iterdir()) == []


def test_a_block_that_fails_lets_others_in(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), alone(tmp_path / "file"):
        raise ZeroDivisionError
    with alone(tmp_path / "file"):
        pass


def test_where_the_file_system_knows_no_locks_nobody_is_kept_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire(lock: FileLock, timeout: float) -> None:
        raise NotImplementedError("no locks here")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with alone(tmp_path / "file"), alone(tmp_path / "file"):
        pass


def test_an_evaluation_writes_nothing_into_the_traces_of_another(tmp_path: Path) -> None:
    out = tmp_path / "traces.jsonl"
    with another_process(out), pytest.raises(InputError, match="another process writes to"):
        answer(out)
    assert not out.exists()
    answer(out)
    assert len(out.read_text().splitlines()) == 3


def test_traces_are_not_decided_again_by_two_at_once(tmp_path: Path) -> None:
    source, out = tmp_path / "traces.jsonl", tmp_path / "again.jsonl"
    answer(source)

    async def same(trace: Trace) -> Trace:
        return trace

    with another_process(partial_of(out)), pytest.raises(InputError, match="another process writes to"):
        asyncio.run(remake(source, out, same, identity={}))
    assert not out.exists()
    assert asyncio.run(remake(source, out, same, identity={})).traces == 3
