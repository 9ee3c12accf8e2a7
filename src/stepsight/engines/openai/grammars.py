"""How servers are told to hold a reply to the form of the four stages: each has another field for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from stepsight.stages import staged_gbnf, staged_regex

FORMS: Mapping[str, object] = MappingProxyType(
    {
        "structured_outputs": {"regex": staged_regex()},  # vLLM since 0.11
        "guided_regex": staged_regex(),  # vLLM before
        "regex": staged_regex(),  # SGLang
        "grammar": staged_gbnf(),  # llama.cpp
    }
)
"""What stands in which field of a request. A field that a server does not know is refused, or passed over."""


def form_in(key: str) -> dict[str, Any]:
    """The part of a request that says it in the field `key`."""
    return {key: FORMS[key]}
