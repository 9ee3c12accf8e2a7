"""The benchmarks by name: the six of the paper, AI2D without its mask, and MMBench's part without answers."""

from __future__ import annotations

from stepsight.evaluation.suites.ai2d import AI2D_TEST, AI2D_TEST_NO_MASK
from stepsight.evaluation.suites.hallusionbench import HALLUSIONBENCH
from stepsight.evaluation.suites.mathvista import MATHVISTA_MINI
from stepsight.evaluation.suites.mmbench import MMBENCH_DEV_EN_V11, MMBENCH_TEST_EN_V11
from stepsight.evaluation.suites.mmstar import MMSTAR
from stepsight.evaluation.suites.mmvet import MMVET
from stepsight.evaluation.suites.rules import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        MMSTAR,
        MMBENCH_DEV_EN_V11,
        MMBENCH_TEST_EN_V11,
        MMVET,
        MATHVISTA_MINI,
        AI2D_TEST,
        AI2D_TEST_NO_MASK,
        HALLUSIONBENCH,
    )
}
"""In the order of the paper's tables."""


def known_name(name: str) -> str:
    """The data set's exact name, for a name whose case is another; any other name as it is."""
    by_case = {known.lower(): known for known in BENCHMARKS}
    return by_case.get(name.lower(), name)
