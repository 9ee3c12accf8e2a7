"""Which questions of a benchmark a training set has seen, and what a score is without them.

    picture    a row's picture looks like the question's (`data.likeness`)
    text       a question of a row holds the benchmark's question, options included (`data.text_likeness`)
    both       one and the same row does both

A picture alone may have been shown with quite another question, and a common question alone says nothing; so the score
is given without the questions of each kind. Questions that are scored together (the turns of a circle, a set of
HallusionBench) are left out together.

It does not cover: rows with several pictures, what a model was trained on before that training set, and all that
`likeness` and `text_likeness` do not.
"""

from stepsight.evaluation.contamination.comparing import contamination
from stepsight.evaluation.contamination.report import Contamination, headline
from stepsight.evaluation.contamination.without import with_scores

__all__ = ["Contamination", "contamination", "headline", "with_scores"]
