"""Against a teacher that goes wrong on purpose every fault becomes a reject with its reason, or is made good."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.faults import KEPT, RESCUING, RIGHT, SOUND, outcomes

from stepsight.data.reasons import Reason
from stepsight.data.teaching import TeachingSettings
from stepsight.serving.teacher import Shares, TeacherServer
from stepsight.world.recall import Recall
from stepsight.world.split import load_questions, save_split

ALL = {"malformed": 0.2, "wrong": 0.2, "refusal": 0.2, "truncated": 0.1}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_split("test", seed=3, count=50, out=tmp_path_factory.mktemp("drawn"))


def teacher(drawn: Path, **shares: float) -> TeacherServer:
    often = {"status_429": 0.15, "status_500": 0.15, "retry_after": 0.01}
    return TeacherServer(Recall(load_questions(drawn)), Shares(**ALL, **often, **shares), seed=4)


async def test_every_fault_is_rejected_with_its_reason_and_all_else_is_kept(drawn: Path, tmp_path: Path) -> None:
    with teacher(drawn) as server:
        found = await outcomes(drawn, tmp_path, server.url, TeachingSettings(tries=1))
    for injected in RIGHT:
        assert found.fates[injected].total() >= 3, f"too few are {injected} to say anything"
        assert found.precision(injected).value == found.recall(injected).value == 1.0, (injected, found.fates)
    assert found.lies == []
    assert min(found.statuses.values()) >= 3
    assert found.noted == found.statuses
    assert (found.free["429"], found.free["500"]) == (found.noted["429"], 0)


async def test_what_passes_is_made_good_by_more_tries(drawn: Path, tmp_path: Path) -> None:
    with teacher(drawn, passing=1.0) as server:
        found = await outcomes(drawn, tmp_path, server.url, RESCUING)
    assert {injected: found.kept(injected).value for injected in RIGHT} == dict.fromkeys(RIGHT, 1.0)
    assert found.lies == []
    once_or_twice = sum((1 if injected == SOUND else 2) * found.fates[injected][KEPT] for injected in RIGHT)
    assert found.replies - found.compared == once_or_twice


async def test_what_stays_wrong_stays_rejected(drawn: Path, tmp_path: Path) -> None:
    with teacher(drawn, persistent=1.0) as server:
        found = await outcomes(drawn, tmp_path, server.url, RESCUING)
    assert all(found.recall(injected).value == 1.0 for injected in RIGHT), found.fates
    assert found.lies == []
    assert found.fates["wrong"][Reason.DISAGREES] >= 3
