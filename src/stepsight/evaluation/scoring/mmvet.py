"""MM-Vet's grades: what a judge's reply says, and which capabilities a question counts for.

Source: vlmeval/dataset/utils/mmvet.py of open-compass/VLMEvalKit. It has no rule without a judge: a question that none
has graded is unscored. Two things differ from there on purpose: a reply of `nan` is no grade (it would make every mean
one), and a question whose judge fails is unscored where VLMEvalKit gives 0 after five tries.
"""

from __future__ import annotations

CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")
"""Recognition, text in pictures, knowledge, generation, spatial awareness, mathematics."""


def read_grade(reply: str) -> float | None:
    """The grade that a judge's reply is, from 0 to 1; None if the reply as a whole is no such number."""
    try:
        grade = float(reply)
    except ValueError:
        return None
    return grade if 0 <= grade <= 1 else None


def capabilities_of(category: str) -> tuple[str, ...]:
    """The capabilities that occur in the column `category`, such as `rec,know`."""
    return tuple(capability for capability in CAPABILITIES if capability in category)


def combination_of(category: str) -> str:
    """The name of the exact combination: `rec_know` for `rec,know`."""
    return category.replace(",", "_")
