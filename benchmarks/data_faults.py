"""Filters against a teacher that goes wrong on purpose: precision and recall of every reason, and what tries rescue.

    python benchmarks/data_faults.py --count 1000

Questions of the drawn world, `stepsight teacher serve` in a process of its own with a tenth of all questions each
malformed, wrong and refused, and 5 % of requests each answered with 429 and 500. Two builds: with one try, so that
every injected fault must show as a reject with its reason; and with three and `retry_on`, where the teacher's faults
pass in a new conversation, so that all must be rescued. Both are held against what the server says it injected. The
exit code says whether any figure is below 0.99. The judge is the teacher, which knows the words of the world: a real
model that compares answers is not measured here. From the repository's folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stepsight.data.teaching import TeachingSettings
from stepsight.world.split import save_split

if TYPE_CHECKING:
    from tests.data.faults import Outcomes

ENOUGH = 0.99
INJECTED = ("sound", "malformed", "wrong", "refusal")
FATES = ("kept", "format", "disagrees", "refusal")


@contextmanager
def teacher(questions: Path, *options: str) -> Iterator[str]:
    """The teacher in a process of its own; gives its URL."""
    command = [sys.executable, "-m", "stepsight", "teacher", "serve", "--questions", str(questions), "--port", "0"]
    with subprocess.Popen([*command, "--retry-after", "0.01", *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def table(found: Outcomes) -> str:
    """What became of questions, by how their first reply went wrong."""
    other = sorted({fate for counts in found.fates.values() for fate in counts} - set(FATES))
    names = (*FATES, *other)
    lines = [f"{'injected':<11}" + "".join(f"{name:>11}" for name in names)]
    lines += [f"{one:<11}" + "".join(f"{found.fates[one][name]:>11}" for name in names) for one in INJECTED]
    return "\n".join(lines)


def main() -> int:
    """Draw, build twice, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="questions")
    parser.add_argument("--seed", type=int, default=0, help="of the questions and of what goes wrong")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    # What is measured is shared with a test.
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.data.faults import RESCUING, outcomes

    seed = str(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        questions = save_split("test", seed=options.seed, count=options.count, out=folder / "drawn")
        with teacher(questions, "--seed", seed) as url:
            once = asyncio.run(outcomes(questions, folder / "once", url, TeachingSettings(tries=1)))
        with teacher(questions, "--seed", seed, "--passing", "1") as url:
            more = asyncio.run(outcomes(questions, folder / "more", url, RESCUING))

    shares = {f"precision {one}": once.precision(one) for one in INJECTED}
    shares |= {f"recall {one}": once.recall(one) for one in INJECTED}
    shares |= {f"rescued {one}": more.kept(one) for one in INJECTED}
    low = [name for name, share in shares.items() if share.value < ENOUGH]
    noted = all(run.statuses == run.noted and run.free["429"] == run.noted["429"] for run in (once, more))
    if options.json:
        runs = {name: {**vars(run), "lies": len(run.lies)} for name, run in (("once", once), ("more", more))}
        told = {name: {"value": share.value, "hits": share.hits, "n": share.n} for name, share in shares.items()}
        print(json.dumps({"shares": told, "all_statuses_noted": noted, "below": low, **runs}))
    else:
        for title, run in (("one try", once), ("three tries, retry_on disagrees and refusal", more)):
            print(f"{title}: {options.count} questions, {run.replies} replies, {run.compared} compared by the judge")
            print(table(run))
            said = ", ".join(f"{run.statuses[one]} x {one} ({run.noted[one]} noted)" for one in ("429", "500"))
            print(f"{said}; rows kept that are not the truth: {len(run.lies)}\n")
        for name, share in shares.items():
            print(f"{name:<20} {share}")
    return 1 if low or once.lies or more.lies or not noted else 0


if __name__ == "__main__":
    sys.exit(main())
