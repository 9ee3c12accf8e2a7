"""Runs of `stepsight data build` that are killed at random moments and resumed, against a local HTTP teacher.

    python benchmarks/data_kills.py --kills 30 --count 60

Three runs of ten kills each, unless told otherwise. Prints what was found as JSON; the exit code says whether any row
was lost or doubled, or any reply paid for twice that had been received. From the repository's folder.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path


def main() -> int:
    """Kill, resume, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="in all")
    parser.add_argument("--runs", type=int, default=3, help="over so many runs")
    parser.add_argument("--count", type=int, default=60, help="questions of each run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    # What kills is shared with a test.
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.data.kills import kill_and_resume

    found = []
    for run in range(options.runs):
        rng = random.Random(options.seed * 1000 + run)
        with tempfile.TemporaryDirectory() as folder:
            kills = options.kills // options.runs + (run < options.kills % options.runs)
            found.append(kill_and_resume(Path(folder), rng, kills=kills, count=options.count))
    faults = [fault for one in found for fault in one.faults]
    print(
        json.dumps(
            {
                "killed": sum(one.killed for one in found),
                "rows": options.runs * options.count,
                "replies_sent": sum(one.sent for one in found),
                "asked_again_as_never_received": sum(one.repeated for one in found),
                "faults": faults,
            }
        )
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
