"""Versioned sets of prompts are chosen by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from stepsight.errors import InputError

Prompts = TypeVar("Prompts")


def chosen(sets: Mapping[str, Prompts], version: str, what: str) -> Prompts:
    """The set named `version`.

    Args:
        sets: by name.
        version: which.
        what: whose prompts they are, for the error: `judge`, ...

    Raises:
        InputError: there is no such set.
    """
    if version in sets:
        return sets[version]
    near = get_close_matches(version, sets, n=1)
    known = ", ".join(sets)
    hint = f"did you mean {near[0]}? known: {known}" if near else f"known: {known}"
    raise InputError(f"there are no {what} prompts named {version!r}", hint=hint)
