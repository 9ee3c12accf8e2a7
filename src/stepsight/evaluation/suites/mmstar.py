"""MMStar: 1,500 questions with four options, 250 for each of six skills (the column `category`).

A question may repeat its options, `Options: A: ..., B: ...`, before they are listed; it is asked as it stands. Scores
are also given by the column `l2_category`, which VLMEvalKit passes over for its underscore.
"""

from __future__ import annotations

from stepsight.evaluation.suites.choice import Choice
from stepsight.evaluation.suites.rules import Benchmark

MMSTAR = Benchmark(
    name="MMStar",
    rules=Choice("MMStar", kinds=("category", "l2_category")),
    md5="e1ecd2140806c1b1bbf54b43372efb9e",
    url="https://opencompass.openxlab.space/utils/VLMEval/MMStar.tsv",
    rows=1500,
)
