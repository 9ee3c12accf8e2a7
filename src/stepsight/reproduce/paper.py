"""The paper's figures that ours are set beside: LLaVA-CoT, arXiv 2411.10440v6 (and v1 where that is said).

Tables 2 and 4 are averages over six whole benchmarks (MMStar, MMBench V1.1, MMVet, MathVista, AI2D, HallusionBench),
Tables 5 and 7 over their reasoning subsets. Scores are in percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from stepsight.data.ablations import Form


class PaperScore(NamedTuple):
    """A score and where it stands."""

    value: float
    where: str


WHOLE: Mapping[Form, PaperScore] = MappingProxyType(
    {
        Form.DIRECT: PaperScore(59.0, "Table 2"),
        Form.NO_TAGS: PaperScore(60.9, "Table 2"),
        Form.STAGED: PaperScore(62.4, "Table 2"),
    }
)
"""Average of the six benchmarks. The base model, untrained: 56.6."""

REASONING: Mapping[Form, PaperScore] = MappingProxyType(
    {
        Form.APART: PaperScore(57.7, "Table 7"),
        Form.SHUFFLED: PaperScore(58.2, "Table 7"),
        Form.STAGED: PaperScore(63.1, "Table 7"),
    }
)
"""Average of the reasoning subsets. The base model, untrained: 56.9."""


class PaperPair(NamedTuple):
    """That one thing is more accurate than another in the paper, by so many points, and where."""

    above: str
    below: str
    points: float
    where: str


FORMS: tuple[PaperPair, ...] = (
    PaperPair(Form.NO_TAGS, Form.DIRECT, 1.9, "Table 2"),
    PaperPair(Form.STAGED, Form.NO_TAGS, 1.5, "Table 2"),
    PaperPair(Form.STAGED, Form.DIRECT, 3.4, "Table 2"),
    PaperPair(Form.STAGED, Form.APART, 5.4, "Table 7"),
    PaperPair(Form.STAGED, Form.SHUFFLED, 4.9, "Table 7"),
)
"""Ways to train, by the forms of their rows."""

SEARCHES: tuple[PaperPair, ...] = (
    PaperPair("best-of-n", "greedy", 0.6, "v1, MMVet, best of 10, the model as its own judge"),
    PaperPair("stage-beam", "greedy", 2.6, "v1, MMVet, width 4, the model as its own judge"),
    PaperPair("stage-beam", "best-of-n", 2.0, "v1, MMVet, width 4 against best of 10"),
    PaperPair("sentence-beam", "greedy", -1.9, "v1, MMVet, width 2, the model as its own judge"),
    PaperPair("swires", "greedy", 3.1, "Tables 2 and 4, six benchmarks, a reward model as judge"),
    PaperPair("swires", "stage-beam", 1.3, "Figure 5, MMStar, at about equal time, read off"),
)
"""Searches, by the names of ours. `greedy` stands for one pass without search."""


def paper_pair(pairs: tuple[PaperPair, ...], above: str, below: str) -> PaperPair | None:
    """What the paper says of a pair; None if it says nothing."""
    return next((pair for pair in pairs if (pair.above, pair.below) == (above, below)), None)
