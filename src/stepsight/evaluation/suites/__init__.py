"""Benchmarks: read from VLMEvalKit's own files, asked in its words, scored by its rules.

suite = read_suite("MMStar")                 the file, checked
suite.questions()                            what is asked, for `evaluation.evaluate` or any other engine
predictions_of(traces)                       what was answered
score_by_rules(suite, predictions)           scores with intervals, without a judge
score(suite, predictions, extractor)         with one: `Ask` and `read_reply` in `scoring.readings`
write_predictions(path, suite, predictions)  for VLMEvalKit; `read_predictions` reads its files
write_submission(path, suite, predictions)   for MMBench's server
"""

from stepsight.evaluation.suites.catalogue import BENCHMARKS
from stepsight.evaluation.suites.predictions import Prediction, predictions_of, read_predictions, write_predictions
from stepsight.evaluation.suites.rules import Settings
from stepsight.evaluation.suites.scores import Result, Scores, score, score_by_rules
from stepsight.evaluation.suites.submission import write_submission
from stepsight.evaluation.suites.suite import Suite, read_suite

__all__ = [
    "BENCHMARKS",
    "Prediction",
    "Result",
    "Scores",
    "Settings",
    "Suite",
    "predictions_of",
    "read_predictions",
    "read_suite",
    "score",
    "score_by_rules",
    "write_predictions",
    "write_submission",
]
