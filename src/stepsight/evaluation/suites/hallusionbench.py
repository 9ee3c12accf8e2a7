"""HallusionBench: questions for yes or no about charts, maps, illusions and the like, some with doctored pictures.

Of its 1,129 questions 951 show a picture; the others are dropped, as VLMEvalKit drops them.
"""

from __future__ import annotations

from stepsight.evaluation.suites.rules import Benchmark
from stepsight.evaluation.suites.yes_no import YesNoQuestions

HALLUSIONBENCH = Benchmark(
    name="HallusionBench",
    rules=YesNoQuestions("HallusionBench", grouped=True),
    md5="0c23ac0dc9ef46832d7a24504f2a0c7c",
    url="https://opencompass.openxlab.space/utils/VLMEval/HallusionBench.tsv",
    rows=951,
)
