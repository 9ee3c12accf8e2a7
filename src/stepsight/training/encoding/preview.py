"""What a run would learn from its first batch, for human eyes: the cheapest way to find a wrong mask."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch

from stepsight.training.encoding.exchange import IGNORED, Encoded
from stepsight.training.encoding.families import placeholder_of
from stepsight.training.lessons.align import ABSENT, NAMES
from stepsight.world.scene import CELLS, VALUES

LEARNED = ("⟦", "⟧")
"""Stand around text that has a loss; a weight other than 1 follows, such as `⟦1⟧x8`."""


def preview_rows(rows: Sequence[Encoded], processor: Any) -> str:
    """The first row, decoded, with what is learned marked; then counts over the batch."""
    tokens = sum(len(row.ids) for row in rows)
    learned = sum(int((row.labels != IGNORED).sum()) for row in rows)
    longest = max(len(row.ids) for row in rows)
    pictures = sum(row.pictured > 0 for row in rows)
    packed = sum(row.conversations for row in rows)
    behind = f" of {packed} conversations behind one another" if packed > len(rows) else ""
    counts = (
        f"first batch: {len(rows)} rows{behind}, {pictures} with a picture; {tokens} tokens, {learned} of them "
        f"learned; the longest row has {longest}"
    )
    return f"{mark_learned(rows[0], processor)}\n\n{counts}"


def mark_learned(row: Encoded, processor: Any) -> str:
    """A row as text: learned stretches in `LEARNED`, runs of picture tokens as one with their number."""
    weights = torch.where(row.labels == IGNORED, torch.zeros_like(row.weights), row.weights).tolist()
    parts = []
    for weight, group in groupby(zip(row.ids.tolist(), weights, strict=True), key=lambda pair: pair[1]):
        text = processor.tokenizer.decode([token for token, _ in group], skip_special_tokens=False)
        if weight:
            text = f"{LEARNED[0]}{text}{LEARNED[1]}" + (f"x{weight:g}" if weight != 1 else "")
        parts.append(text)
    picture = processor.tokenizer.convert_ids_to_tokens(placeholder_of(processor))
    return re.sub(
        rf"(?:{re.escape(picture)}){{2,}}",
        lambda run: f"{picture}x{len(run.group()) // len(picture)}",
        "".join(parts),
    )


def preview_patches(rows: Sequence[Mapping[str, torch.Tensor]]) -> str:
    """What each patch of the first picture is called where something stands; then counts over the batch."""
    first = rows[0]
    lines = []
    for place, presence in enumerate(first["presence"].tolist()):
        if presence:
            words = (values[int(first[name][place])] for name, values in VALUES.items())
            lines.append(f"{CELLS[int(first['cell'][place])]} {' '.join(words)}")
    named = sum(int((row[name] != ABSENT).sum()) for row in rows for name in NAMES)
    return "\n".join([*lines, "", f"first batch: {len(rows)} pictures, {named} names to learn"])
