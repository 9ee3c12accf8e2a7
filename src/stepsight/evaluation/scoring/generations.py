"""The generations of VLMEvalKit's rules, by which the same text may score differently.

    2024      up to 3 August 2025, and what every published number of LLaVA-CoT was scored with
    2025-08   from commit c3371551 on: an option's letter counts near the end only, long texts match no option's text
    2026-06   from commit a67ace50 on: "the answer is B" counts wherever it stands

A rule for yes and no changed once, on 13 May 2025 (commit 928a95b0), for answers with many full stops; here it belongs
to 2025-08.
"""

from __future__ import annotations

from typing import Literal, get_args

from stepsight.errors import InputError

Generation = Literal["2024", "2025-08", "2026-06"]
GENERATIONS: tuple[Generation, ...] = get_args(Generation)
NEWEST: Generation = "2026-06"


def generation_of(name: str) -> Generation:
    """The generation of that name.

    Raises:
        InputError: there is none.
    """
    for generation in GENERATIONS:
        if name == generation:
            return generation
    raise InputError(f"there are no scoring rules of {name!r}", hint=f"choose one of {', '.join(GENERATIONS)}")
