"""How long scoring takes: predictions for made-up files of the benchmarks' real sizes, scored without a judge.

    python benchmarks/scoring_speed.py                  # every benchmark at its size, 11,633 predictions
    python benchmarks/scoring_speed.py --count 10000    # so many predictions, spread over the benchmarks alike

Every prediction is a staged answer of about 1,500 characters, a tenth of them without a readable answer. One JSON line
per benchmark: seconds to read the file and to score both the whole answers and the conclusions, intervals included, and
the seconds of the processor among them (on a machine with other work the clock says more); then one line for all.
Writing pictures and answering are not part of it.
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from stepsight.evaluation.suites import Prediction, read_suite, score_by_rules
from stepsight.stages import Stage, render

SIZES = {
    "MMStar": 1500,
    "MMBench_DEV_EN_V11": 4876,
    "MMVet": 218,
    "MathVista_MINI": 1000,
    "AI2D_TEST": 3088,
    "HallusionBench": 951,
}
"""Rows with pictures; MMBench's, with its circular copies, about so many."""


def main() -> None:
    """Make the files, score them, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=sum(SIZES.values()), help="predictions in all")
    wanted = parser.parse_args().count
    sizes = {name: max(1, round(size * wanted / sum(SIZES.values()))) for name, size in SIZES.items()}
    predictions, total = 0, [0.0, 0.0, 0.0]
    with tempfile.TemporaryDirectory() as folder:
        for name, size in sizes.items():
            write(Path(folder) / f"{name}.tsv", list(rows(name, size)))
            busy, started = time.process_time(), time.perf_counter()
            suite = read_suite(name, root=Path(folder))
            read = time.perf_counter()
            made = answers([line.index for line in suite.lines])
            scoring = time.perf_counter()
            score_by_rules(suite, made)
            times = [read - started, time.perf_counter() - scoring, time.process_time() - busy]
            tell(name, len(made), times)
            predictions, total = predictions + len(made), [one + more for one, more in zip(total, times, strict=True)]
    tell("all", predictions, total)


def tell(name: str, predictions: int, times: list[float]) -> None:
    """One line of the result."""
    names = ("seconds to read", "seconds to score", "seconds of the processor")
    seconds = {name: round(one, 2) for name, one in zip(names, times, strict=True)}
    print(json.dumps({"benchmark": name, "predictions": predictions, **seconds}), flush=True)


def rows(name: str, size: int) -> Iterator[dict[str, object]]:
    """So many rows of a benchmark's form; all but the first show the first one's picture."""
    options = {"A": "a red cube", "B": "a blue ball", "C": "a cone", "D": "none of these"}
    for place in range(size):
        row: dict[str, object] = {"index": place, "question": f"What is it in picture {place}?", "answer": "B"}
        if name in ("MMStar", "AI2D_TEST", "MMBench_DEV_EN_V11"):
            row |= options | {"category": f"skill {place % 20}"}
        if name == "MMBench_DEV_EN_V11":
            row |= {"index": place % 4 * 1_000_000 + place // 4, "l2-category": f"ability {place % 6}", "split": "dev"}
        elif name == "HallusionBench":
            numbers = f"{place // 12}_{place // 3 % 4}_{place % 3}"
            row |= {"index": f"VS_chart_1_{numbers}", "answer": "Yes", "category": "VS", "l2-category": "chart"}
        elif name == "MMVet":
            row |= {"category": "rec,know"}
        elif name == "MathVista_MINI":
            row |= {"question_type": "multi_choice", "answer_type": "text", "choices": str(list(options.values()))}
            row |= {"answer_option": "B", "task": f"task {place % 5}", "skills": "['algebraic reasoning']"}
        yield row | {"image": picture() if not place else first(name)}


def first(name: str) -> str:
    """The index of the first row."""
    return "VS_chart_1_0_0_0" if name == "HallusionBench" else "0"


def picture() -> str:
    """A small picture in base64."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def answers(indices: list[str]) -> list[Prediction]:
    """A staged answer to each; the reasoning is long and names things that no rule should fall for."""
    rng = random.Random(0)
    reasoning = "It has a round outline, and next to it stands a thing that is not asked for. " * 15
    stages = {Stage.SUMMARY: "I look.", Stage.CAPTION: "A picture of things.", Stage.REASONING: reasoning}
    found = []
    for index in indices:
        said = "I cannot tell" if rng.random() < 0.1 else rng.choice(["B", "The answer is (B).", "Yes", "a blue ball"])
        found.append(Prediction(index=index, text=render({**stages, Stage.CONCLUSION: said})))
    return found


def write(path: Path, table: list[dict[str, object]]) -> None:
    """A benchmark file."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(table[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
