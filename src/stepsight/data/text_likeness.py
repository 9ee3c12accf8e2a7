"""Questions that occur in other texts, word for word or nearly so.

A text holds a question if it has at least 80 % of the question's runs of three words, and at least 80 % of its options,
each as whole words in a row. Case, the encoding of accents and punctuation do not matter, nor what else the text says,
nor the order of options: rows of training sets put instructions, hints and letters around a question.

Runs of words and the share of them that is in another text ("containment") are those of Broder, "On the Resemblance and
Containment of Documents", 1997. It does not cover: paraphrases, translations, questions of fewer than five words, which
are like nothing, and writing without blanks between words, where only whole phrases count.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

RUN = 3
SHARE = 0.8
SHORTEST = 5
"""A question with its options has at least so many words, or it is like nothing."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Asked:
    """A question as it is looked for: its text without options, and the options' texts."""

    text: str
    options: tuple[str, ...] = ()


class HeldQuestions:
    """Questions to be looked for in many texts.

    Whatever text holds 80 % of n runs has at least one of any n - 80 % of n + 1 of them. So of each question only its
    rarest runs are looked up, and hardly any text is compared in full.
    """

    def __init__(self, questions: Sequence[Asked]) -> None:
        words = [words_of(asked.text) for asked in questions]
        self._options = [tuple(filter(None, map(_spaced, asked.options))) for asked in questions]
        known = [
            len(said) + sum(option.count(" ") - 1 for option in options) >= SHORTEST
            for said, options in zip(words, self._options, strict=True)
        ]
        self._runs = [runs_of(said) if enough else frozenset() for said, enough in zip(words, known, strict=True)]
        counts = Counter(run for runs in self._runs for run in runs)
        self._by_run: dict[str, list[int]] = {}
        for place, runs in enumerate(self._runs):
            rarest = sorted(runs, key=lambda run: (counts[run], run))
            for run in rarest[: len(runs) - _least(len(runs)) + 1] if runs else ():
                self._by_run.setdefault(run, []).append(place)

    def held_by(self, text: str) -> Iterator[tuple[int, float]]:
        """(place, share of its runs) of each question that `text` holds."""
        said = words_of(text)
        there = runs_of(said)
        # A question of one or two words is a run of its own length.
        short = frozenset(" ".join(said[start : start + n]) for n in (1, 2) for start in range(len(said) - n + 1))
        near = sorted({place for run in (there | short) & self._by_run.keys() for place in self._by_run[run]})
        spaced = f" {' '.join(said)} "
        for place in near:
            runs, options = self._runs[place], self._options[place]
            shared = len(runs & (there if _length(runs) >= RUN else short))
            found = sum(option in spaced for option in options)
            if shared >= _least(len(runs)) and found >= _least(len(options)):
                yield place, shared / len(runs)


def words_of(text: str) -> list[str]:
    """The words of a text in one form of writing, without case and punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def runs_of(words: Sequence[str]) -> frozenset[str]:
    """All runs of three words that a text has; of a shorter text itself, of none nothing."""
    if len(words) < RUN:
        return frozenset([" ".join(words)] if words else ())
    return frozenset(" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1))


def _least(count: int) -> int:
    return math.ceil(SHARE * count - 1e-9)


def _length(runs: frozenset[str]) -> int:
    """The words of each run."""
    return next(iter(runs)).count(" ") + 1


def _spaced(text: str) -> str:
    words = words_of(text)
    return f" {' '.join(words)} " if words else ""
