"""Which option a text chooses, by VLMEvalKit's rules and no judge.

The rule for letters is tried first, the rule for texts if it finds nothing:

    The answer is (B).          B, by its letter
    It is purple                D, if D is the only option whose text occurs
    A plane is not a letter     nothing: the letter A stands too far from the end

Source: `can_infer` in vlmeval/utils/matching_util.py of open-compass/VLMEvalKit, in the three generations of
`generations`. What a reader may not expect stays as it is there: quotes and slashes do not part words, so `"D"` is no
letter; "the answer is blue" means B; an option's text counts inside a longer word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stepsight.evaluation.scoring.generations import NEWEST, Generation

NO_REPLY = "Failed to obtain answer via API"
"""What VLMEvalKit writes in place of an answer that a server did not give."""

REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)

NONE_OF_THEM = "Z"
"""The letter for "none of the options"; it is never right."""

How = Literal["letter", "phrase", "text", "none of them", "nothing"]

_BLANKED = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_PHRASE = re.compile(r"(?i)(?:correct\s+)?answer\s+is\s+\**([ABCD])\**")
_NEAR_THE_END = 5


@dataclass(frozen=True)
class Match:
    """The chosen option's letter, `Z` for none of them, None if the text does not say; and what it was found by."""

    letter: str | None
    how: How


def match_option(
    text: str, options: Mapping[str, str], *, generation: Generation = NEWEST, verbose: bool = False
) -> Match:
    """The option that `text` chooses.

    Args:
        text: a prediction, or a judge's reply.
        options: texts by capital letter, as the table has them (`cells.as_read`).
        generation: of the rules.
        verbose: as if VLMEvalKit's environment variable `VERBOSE` were set to anything, even to 0: with more than
            three words, a lone `A` among them is taken for an article, and no letter is found.
    """
    if NO_REPLY not in text:
        found = _by_letter(text, options, generation, verbose)
        if found is not None:
            return found
    letter = _by_text(text, options, generation)
    return Match(letter, "nothing" if letter is None else "text")


def _by_letter(text: str, options: Mapping[str, str], generation: Generation, verbose: bool) -> Match | None:
    if any(refusal in text for refusal in REFUSALS):
        return Match(NONE_OF_THEM, "none of them")
    words = text.translate(_BLANKED).split()
    letters = [letter for letter in options if letter in words]
    if len(letters) == 1:
        if verbose and "A" in words and len(words) > 3:
            return None
        if generation == "2024" or _near_the_end(words, letters[0]):
            return Match(letters[0], "letter")
    elif not letters and NONE_OF_THEM in words:
        return Match(NONE_OF_THEM, "none of them")
    if generation == "2026-06":
        phrase = _PHRASE.search(text)
        if phrase and phrase[1].upper() in options:
            return Match(phrase[1].upper(), "phrase")
    return None


def _near_the_end(words: Sequence[str], letter: str) -> bool:
    # It is the first place of the letter that counts.
    return words.index(letter) > len(words) - _NEAR_THE_END


def _by_text(text: str, options: Mapping[str, str], generation: Generation) -> str | None:
    lowered = text.lower()
    if generation != "2024" and len(lowered) > 2 * sum(map(len, options.values())):
        return None
    found = [letter for letter, option in options.items() if option.lower() in lowered]
    return found[0] if len(found) == 1 else None
