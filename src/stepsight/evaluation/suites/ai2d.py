"""AI2D's test questions about diagrams, twice: with labels masked by letters, and with labels left to be read.

`AI2D_TEST` is the masked one, the harder by some ten points. They are two benchmarks here, with two names that stand in
every table, since published scores have mixed them up.
"""

from __future__ import annotations

from stepsight.evaluation.suites.choice import Choice
from stepsight.evaluation.suites.rules import Benchmark

_URL = "https://opencompass.openxlab.space/utils/VLMEval"

AI2D_TEST = Benchmark(
    name="AI2D_TEST",
    rules=Choice("AI2D_TEST", diagram=True),
    md5="0f593e0d1c7df9a3d69bf1f947e71975",
    url=f"{_URL}/AI2D_TEST.tsv",
)

AI2D_TEST_NO_MASK = Benchmark(
    name="AI2D_TEST_NO_MASK",
    rules=Choice("AI2D_TEST_NO_MASK", diagram=True),
    md5="fd8f463634d4fe9fbd23b876e8eea5be",
    url=f"{_URL}/AI2D_TEST_NO_MASK.tsv",
)
