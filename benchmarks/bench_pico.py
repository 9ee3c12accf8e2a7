"""pico on questions of the drawn world as a benchmark: greedy and stage-beam, each killed midway and resumed.

    python benchmarks/bench_pico.py --out FOLDER                    # 1,000 multiple choices; `--count 20` to try it
    python benchmarks/bench_pico.py --out FOLDER --kind yn          # questions for yes or no, or `vqa`
    python benchmarks/bench_pico.py --out FOLDER --again            # runs each a second time without a kill

The same steps by hand: `stepsight draw --format tsv-mcq`, `stepsight bench run`, `stepsight bench compare` and
`stepsight bench page`. A run is killed (SIGKILL) when it has written half of its traces, and the same command is given
again. With `--again` the two files of predictions must be equal byte for byte. One JSON line for each search: both
scores with intervals, tokens, seconds of both sessions, how many answers the second session found done.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from stepsight.evaluation.bench import read_result
from stepsight.evaluation.suites.scores import overall

SEARCHES = {"greedy": ["--search", "greedy"], "stage-beam": ["--search", "stage-beam", "--width", "4"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", choices=("mcq", "yn", "vqa"), default="mcq")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=11, help="of the questions")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--again", action="store_true")
    given = parser.parse_args()
    data, name = given.out / "LMUData", f"tabletop_test_{given.kind}"
    draw = ["draw", "--format", f"tsv-{given.kind}", "--split", "test", "--seed", str(given.seed)]
    stepsight(*draw, "--count", str(given.count), "--out", str(data))
    for search, words in SEARCHES.items():
        command = ["bench", "run", name, "--root", str(data), *words, "--concurrency", str(given.concurrency)]
        folder = given.out / search
        seconds = killed(command, folder / name, given.count // 2, folder)
        started = time.perf_counter()
        stepsight(*command, "--out", str(folder))
        report(search, folder / name, seconds, time.perf_counter() - started)
        if given.again:
            stepsight(*command, "--out", str(given.out / f"{search}-again"))
            file = f"pico_{name}.tsv"
            equal = (folder / name / file).read_bytes() == (given.out / f"{search}-again" / name / file).read_bytes()
            print(json.dumps({"search": search, "equal_to_a_run_without_a_kill": equal}), flush=True)
    first, second = (str(given.out / search) for search in SEARCHES)
    stepsight("bench", "compare", second, first, "--html", str(given.out / "compare.html"))
    stepsight("bench", "page", first, second, "--html", str(given.out / "page.html"))


def stepsight(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "stepsight", *words], check=True)


def killed(command: list[str], folder: Path, after: int, out: Path) -> float:
    """Start a run and kill it after so many traces; the seconds until then."""
    started = time.perf_counter()
    traces = folder / "traces.jsonl"
    run = subprocess.Popen([sys.executable, "-m", "stepsight", *command, "--out", str(out)], stdout=subprocess.DEVNULL)
    while run.poll() is None and (not traces.exists() or traces.read_bytes().count(b"\n") < after):
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    return time.perf_counter() - started


def report(search: str, folder: Path, before: float, after: float) -> None:
    result = read_result(folder / "result.json")
    assert result.scores is not None
    assert result.answers is not None
    texts = {"whole": result.scores.whole, "conclusion": result.scores.conclusion}
    found = {
        which: None if text is None else overall(text.exact or text.groups).model_dump()
        for which, text in texts.items()
    }
    mean = result.answers.usage.mean
    row = {"search": search, "questions": result.asked, "resumed": result.answers.resumed, **found, "tokens": mean}
    print(json.dumps({**row, "seconds": [round(before, 1), round(after, 1)]}), flush=True)


if __name__ == "__main__":
    main()
