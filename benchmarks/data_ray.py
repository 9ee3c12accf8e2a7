"""Builds over a Ray cluster of three nodes on this machine: undisturbed, with the driver killed midway and started
again, with a node killed midway. Needs the extra `ray`.

    python benchmarks/data_ray.py --count 300

The teacher is a local HTTP server that says what it has sent. Prints what was found as JSON, one line for each way; the
exit code says whether any row was lost, doubled or other than undisturbed, or any reply paid for twice that had been
received. `repeated` counts replies that were sent twice, as the first had reached nobody. From the repository's folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    """Run, kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="questions of each run")
    parser.add_argument("--seconds", type=float, default=0.02, help="that the teacher takes for a reply")
    parser.add_argument("--window", type=int, default=16, help="questions under way for each worker")
    options = parser.parse_args()

    # What kills is shared with a test.
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.data.kills import Teacher
    from tests.data.ray_kills import WAYS, Run, cluster, rows_of

    bad, whole = False, None
    with cluster(3) as nodes:
        for way in WAYS:
            with Teacher(options.seconds) as teacher, tempfile.TemporaryDirectory() as folder:
                run = Run(Path(folder), nodes, teacher, options.count, options.window)
                started = time.perf_counter()
                found, told = WAYS[way](run)
                seconds = time.perf_counter() - started
                rows = rows_of(Path(folder) / "out")
            whole = rows if whole is None else whole
            same = rows == whole
            bad = bad or bool(found.faults) or not same
            counts = {"rows": len(rows), "same_rows": same, "replies_sent": found.sent, "repeated": found.repeated}
            work = {"workers_lost": told["lost"], "seconds": round(seconds, 1), "faults": found.faults}
            print(json.dumps({"way": way, **counts, **work}), flush=True)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
