"""Run strategies over many questions, score them, and say how sure the scores are."""

from stepsight.conclusions import is_correct
from stepsight.evaluation.report import EvaluationReport, Row, TruthReport, compare
from stepsight.evaluation.run import Progress, evaluate
from stepsight.evaluation.statistics import PairedDifference, Share, paired_difference, wilson

__all__ = [
    "EvaluationReport",
    "PairedDifference",
    "Progress",
    "Row",
    "Share",
    "TruthReport",
    "compare",
    "evaluate",
    "is_correct",
    "paired_difference",
    "wilson",
]
