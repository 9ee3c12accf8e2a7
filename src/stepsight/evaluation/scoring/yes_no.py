"""Whether a text says yes or no, by VLMEvalKit's rules and no judge.

    Yes, there is one.      Yes
    There is no bar. Yes    neither: both words occur
    **Yes**                 neither: stars are not taken away, so the word is `**yes**`

Source: `YOrN_Extraction` in vlmeval/dataset/utils/yorn.py and `process_punctuation` in vlmeval/smp/misc.py of
open-compass/VLMEvalKit. Only the first 32 full stops are looked at, for there a flag is passed as a count.
"""

from __future__ import annotations

import re
from typing import Literal

from stepsight.evaluation.scoring.generations import NEWEST, Generation

YesNo = Literal["Yes", "No", "Unknown"]

_MARKS = (";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`", ",", "?", "!")
_THOUSANDS = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"(?<!\d)\.(?!\d)")
_FULL_STOP_OF_2024 = re.compile(r"\.(?!\d)")
_STOPS = 32


def read_yes_no(text: str, *, generation: Generation = NEWEST) -> YesNo:
    """What `text` says; `Unknown` if it says neither, or both."""
    words = _without_punctuation(text.lower(), generation).split()
    if "yes" in words:
        return "Unknown" if "no" in words else "Yes"
    return "No" if "no" in words else "Unknown"


def _without_punctuation(text: str, generation: Generation) -> str:
    plain = text
    thousands = _THOUSANDS.search(text) is not None
    for mark in _MARKS:
        # Whether a mark vanishes or becomes a blank is decided once, by the text as it was, for all its places.
        vanishes = thousands or f"{mark} " in text or f" {mark}" in text
        plain = plain.replace(mark, "" if vanishes else " ")
    full_stop = _FULL_STOP_OF_2024 if generation == "2024" else _FULL_STOP
    return full_stop.sub("", plain, count=_STOPS)
