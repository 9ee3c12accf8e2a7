"""The file for MMBench's server, which alone knows the answers of its part `TEST`.

The server takes a prediction file of VLMEvalKit (XLSX, TSV or CSV) that has the columns `index`, `question`, `A` to
`D` and `prediction` for every row, circular copies included. Source: scripts/mmb_eval_gradio.py of
open-compass/VLMEvalKit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stepsight.errors import InputError
from stepsight.evaluation.suites.predictions import Prediction, Which, Written, match_lines, write_predictions
from stepsight.evaluation.suites.suite import Suite

SERVER = "https://mmbench.opencompass.org.cn/mmbench-submission"
_COLUMNS = ("index", "question", "A", "B", "C", "D")


def write_submission(
    path: Path, suite: Suite, predictions: Sequence[Prediction], which: Which = "conclusion"
) -> Written:
    """Write the file to be handed in at `SERVER`; an answer without a conclusion has an empty cell.

    Raises:
        InputError: the suite is not MMBench, or is but a part of it, or a question has no prediction.
        MissingExtraError: for XLSX, the library that writes it is not installed.
    """
    lacking = [column for column in _COLUMNS if column not in suite.table.columns]
    if not suite.name.startswith("MMBench") or lacking:
        raise InputError(f"{suite.name} is not handed in at MMBench's server", hint="score it here")
    if len(suite.lines) < suite.of:
        raise InputError(
            f"these are {len(suite.lines)} of {suite.of} questions of {suite.name}", hint="answer all of them first"
        )
    missing = len(suite.lines) - len(match_lines(suite, predictions))
    if missing:
        raise InputError(
            f"{missing} of {suite.of} questions of {suite.name} have no prediction", hint="answer all of them first"
        )
    return write_predictions(path, suite, predictions, which)
