"""What VLMEvalKit's own functions answered to odd texts and tables, recorded once.

Each file beside this one is gzipped JSON lines: first the source and its commits by generation of the rules, then one
input a line with what came of it. `options`, `yes_no` and `values` hold texts drawn by the strategies of the tests that
read them; `tables` whole benchmark files without their pictures, with predictions and the scores by group.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

COMMITS = {"2024": "9f21ee8a", "2025-08": "c3371551", "2026-06": "e8e78f05"}


def recorded(name: str) -> list[dict[str, Any]]:
    """All records of a file, such as `options`."""
    with gzip.open(Path(__file__).with_name(f"{name}.jsonl.gz"), "rt", encoding="utf-8") as stream:
        head, *rows = map(json.loads, stream)
    assert head["commits"] == COMMITS
    return rows
