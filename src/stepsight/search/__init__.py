"""Strategies: short async functions of question, engine, judge and settings that return a trace."""

from difflib import get_close_matches

from stepsight.errors import InputError
from stepsight.protocols import Strategy
from stepsight.search.adaptive import adaptive
from stepsight.search.best_of_n import best_of_n
from stepsight.search.greedy import greedy
from stepsight.search.sentence_beam import sentence_beam
from stepsight.search.stage_beam import stage_beam
from stepsight.search.swires import swires
from stepsight.search.vote import vote

STRATEGIES: dict[str, Strategy] = {
    "greedy": greedy,
    "best-of-n": best_of_n,
    "vote": vote,
    "sentence-beam": sentence_beam,
    "stage-beam": stage_beam,
    "swires": swires,
    "adaptive": adaptive,
}

WHOLE = ("best-of-n", "vote")
"""Searches that draw whole answers, each by its slot alone: the first N of a wide run are those of width N."""


_PROBABLE = ("reward", "oracle")


def is_judged(name: str, width: int, judge: str) -> bool:
    """Whether a search asks a judge: some choose by themselves, others have nothing to choose from at width 1.

    `adaptive` asks judges that give probabilities, and does without any other.
    """
    if name == "adaptive":
        return judge in _PROBABLE
    return name not in ("greedy", "vote") and (width > 1 or name == "swires")


def strategy(name: str) -> Strategy:
    """The strategy called `name`.

    Raises:
        InputError: there is none; the hint names those there are, and the nearest.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    near = get_close_matches(name.lower().replace("_", "-"), STRATEGIES, n=1)
    known = ", ".join(STRATEGIES)
    raise InputError(
        f"there is no strategy {name!r}", hint=f"did you mean {near[0]}? known: {known}" if near else f"known: {known}"
    )


__all__ = [
    "STRATEGIES",
    "WHOLE",
    "adaptive",
    "best_of_n",
    "greedy",
    "is_judged",
    "sentence_beam",
    "stage_beam",
    "strategy",
    "swires",
    "vote",
]
