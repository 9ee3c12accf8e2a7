"""A run that is killed at any moment loses no row, doubles none, and pays for no reply twice that it had received."""

from __future__ import annotations

import random
from pathlib import Path

from tests.data.kills import kill_and_resume


def test_killed_runs_go_on_where_they_were(tmp_path: Path) -> None:
    found = kill_and_resume(tmp_path, random.Random(5), kills=5, count=40)
    assert found.faults == []
    assert found.killed >= 3
    # Of each kill at most the six questions under way can have been asked for in vain.
    assert found.repeated <= 6 * found.killed
