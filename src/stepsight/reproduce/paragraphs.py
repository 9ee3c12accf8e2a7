"""Whether answers without tags keep the form that they were taught: a paragraph for each stage."""

from __future__ import annotations

from stepsight.stages import SEPARATOR, STAGES

ALL_FOUR, FEWER, MORE = "a paragraph for each stage", "fewer paragraphs", "more paragraphs"
PARAGRAPHS = (ALL_FOUR, FEWER, MORE)


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text, those that hold something."""
    return [part.strip() for part in text.split(SEPARATOR) if part.strip()]


def paragraphs_of(text: str) -> str:
    """How many paragraphs an answer has, one of `PARAGRAPHS`."""
    count = len(paragraphs(text))
    return ALL_FOUR if count == len(STAGES) else FEWER if count < len(STAGES) else MORE
