"""Rows of the tiny models of every family."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from PIL import Image
from tests.engines.transformers.tiny import FAMILIES, Tiny, make_tiny

from stepsight.training.encoding.exchange import Encoded, encode_conversation
from stepsight.world.lessons import Span

__all__ = ["EXCHANGES", "FAMILIES", "PICTURES", "Tiny", "encoded", "tiny", "turns_of"]

PICTURES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8))
    for seed, size in enumerate([(40, 40), (24, 40), (50, 30)])
]
EXCHANGES = (("What is it?", "A red cube."), ("Are you sure?", "Yes, in the corner."))
Exchanges = tuple[tuple[str, str], ...]


@cache
def tiny(family: str) -> Tiny:
    """A family's tiny model, made once; nothing may change it."""
    return make_tiny(family)


def encoded(processor: Any, picture: Image.Image | None, exchanges: Exchanges = EXCHANGES) -> Encoded:
    """A row in which all replies are learned."""
    return encode_conversation(processor, [(user, (Span(reply),)) for user, reply in exchanges], picture)


def turns_of(picture: Image.Image | None, exchanges: Exchanges = EXCHANGES) -> list[dict[str, Any]]:
    """The same row as the library takes it."""
    turns = []
    for number, (user, reply) in enumerate(exchanges):
        shown = [] if picture is None or number else [{"type": "image", "image": picture}]
        turns.append({"role": "user", "content": [*shown, {"type": "text", "text": user}]})
        turns.append({"role": "assistant", "content": [{"type": "text", "text": reply}]})
    return turns
