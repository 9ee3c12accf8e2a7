"""MMBench 1.1 in English: questions asked once for every turn of their options, and scored in circles.

Answers of the part `TEST` are not public. It is asked here, and written to a file for the benchmark's own server
(`submission.write_submission`). Both parts share one folder of pictures in VLMEvalKit, so that equal numbers share a
file there; here pictures are named by what they are.
"""

from __future__ import annotations

from stepsight.evaluation.suites.choice import Choice
from stepsight.evaluation.suites.rules import Benchmark

_PICTURES = "MMBench_V11"
_URL = "https://opencompass.openxlab.space/utils/benchmarks/MMBench"

MMBENCH_DEV_EN_V11 = Benchmark(
    name="MMBench_DEV_EN_V11",
    rules=Choice("MMBench_DEV_EN_V11", circular=True),
    md5="30c05be8f2f347a50be25aa067248184",
    url=f"{_URL}/MMBench_DEV_EN_V11.tsv",
    pictures=_PICTURES,
)

MMBENCH_TEST_EN_V11 = Benchmark(
    name="MMBench_TEST_EN_V11",
    rules=Choice("MMBench_TEST_EN_V11", circular=True),
    md5="8d1a704e791df6f5d9fb3ef782b65365",
    url=f"{_URL}/MMBench_TEST_EN_V11.tsv",
    pictures=_PICTURES,
)
