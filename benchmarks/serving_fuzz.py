"""Requests made from the interface's own description, and hostile pictures and bodies, for as long as one likes.

Nothing may come of them but answers and clear refusals: no 5xx, no hang, no crash, and memory stays.

    python benchmarks/serving_fuzz.py --seconds 300
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from stepsight.testing.hostile import BAD, BODIES, ODD
from stepsight.testing.processes import MARKED, Served, messages, png, posted, served

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def schemathesis(server: Served, seconds: int, seed: int) -> tuple[bool, str]:
    """Whether it found nothing, and the last it said."""
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{server.root}/openapi.json", "--no-color"]
    options = ["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--seed", str(seed)]
    bounds = ["--max-time", str(seconds), "--request-timeout", "60"]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"COLUMNS": "120"}
        done = subprocess.run(
            [*command, *options, *bounds], cwd=folder, capture_output=True, text=True, check=False, env=environment
        )
    return done.returncode == 0, done.stdout[-4000:]


def hostile(server: Served, seconds: float, seed: int) -> Counter[str]:
    """Statuses of hostile pictures and bodies, sent in any order until time is up."""
    rng, end, found = random.Random(seed), time.monotonic() + seconds, Counter[str]()
    pictures = {name: make() for name, make in {**BAD, **ODD}.items()}
    while time.monotonic() < end:
        if rng.random() < 0.5:
            body = {"model": "marked@greedy", "messages": messages(rng.choice(list(pictures.values())))}
            status, _, _ = posted(f"{server.url}/chat/completions", body)
        else:
            status = raw(server, rng.choice(list(BODIES.values()))())
        found[str(status)] += 1
    return found


def raw(server: Served, data: bytes) -> int:
    """The status of bytes sent as they are; 0 where the connection is closed without one."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as sock:
        try:
            sock.sendall(data.replace(b"HOST", parts.netloc.encode()))
            sock.shutdown(socket.SHUT_WR)
            line = sock.makefile("rb").readline()
        except OSError:
            return 0
    return int(line.split()[1]) if line.startswith(b"HTTP/1.1 ") else 0


def main() -> None:
    """Run, and print what came of it; the exit code says whether it was as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    half = max(1, given.seconds // 2)
    with served(MARKED, "--log-level", "error") as server:
        hostile(server, min(10.0, half), given.seed)
        early = server.book("resident")
        statuses = hostile(server, half, given.seed)
        sound, said = schemathesis(server, half, given.seed)
        late = server.book("resident")
        status, _, _ = posted(f"{server.url}/chat/completions", {"model": "marked@greedy", "messages": messages(png())})
        running = server.metric("stepsight_searches_running")
    found = {
        "seconds": given.seconds,
        "hostile": dict(statuses),
        "schemathesis": "no fault found" if sound else said,
        "answers_afterwards": status == 200,
        "searches_left": int(running),
        "resident_mb": [round(early / 1e6, 1), round(late / 1e6, 1)],
    }
    print(json.dumps(found, indent=2))
    fine = sound and status == 200 and not running and not any(one.startswith("5") for one in statuses)
    raise SystemExit(0 if fine and late - early < 200e6 else 1)


if __name__ == "__main__":
    main()
