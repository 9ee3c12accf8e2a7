"""Results of all six benchmarks, made from the little files of the other tests."""

from __future__ import annotations

from pathlib import Path

from tests.evaluation.suites.files import FILES, mmbench_rows, staged, write

from stepsight.evaluation.bench import BenchResult, write_result
from stepsight.evaluation.bench.making import card_of, result_of
from stepsight.evaluation.bench.published import SIX
from stepsight.evaluation.scoring.readings import Ask
from stepsight.evaluation.suites import Prediction, Settings, Suite, read_suite
from stepsight.prompts.benchmarks import benchmark_prompts

GREEDY = {"strategy": "greedy", "judge": None, "seed": 0, "width": 1, "temperature": 0.6, "max_tokens": 1024}


async def half(ask: Ask) -> str | None:
    """A judge that grades everything with a half."""
    return "0.5" if ask.kind == "grade" else None


def suites(folder: Path) -> dict[str, Suite]:
    """The six, with MMBench in abilities that all of its reasoning subset are among."""
    found = {}
    for name in SIX.values():
        rows = [dict(row) for row in (mmbench_rows(6) if name.startswith("MMBench") else FILES[name]())]
        if name.startswith("MMBench"):
            abilities = ["attribute_reasoning", "logic_reasoning", "relation_reasoning"] * 2
            for row in rows:
                row["l2-category"] = abilities[int(str(row["index"])) % 1_000_000]
        write(folder / f"{name}.tsv", rows)
        found[name] = read_suite(name, root=folder)
    return found


async def made(suite: Suite, wrong: int = 3, **search: object) -> BenchResult:
    """A result in which every answer but each `wrong`th is right."""
    predictions = [
        Prediction(index=line.index, text=staged(line.text("answer") if place % wrong else "perhaps"))
        for place, line in enumerate(suite.lines)
    ]
    settings = Settings()
    card = card_of(
        suite,
        settings,
        model="m",
        engine="e",
        origin={"source": "m", "weights": "w"},
        prompts=benchmark_prompts("vlmevalkit-1"),
        search={**GREEDY, **search},
    )
    extractor = half if suite.name == "MMVet" else None
    return await result_of(suite, predictions, card, settings, extractor=extractor)


async def save_all(folder: Path, data: Path, wrong: int = 3, **search: object) -> Path:
    """A run's folder with results of all six."""
    for name, suite in suites(data).items():
        write_result(folder / name, await made(suite, wrong, **search))
    return folder
