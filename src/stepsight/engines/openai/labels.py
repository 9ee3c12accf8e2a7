"""Log-probabilities of options, read from the likeliest next tokens that a server lists."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stepsight.errors import CapabilityError

_ROUNDING = 1e-6


def option_logprobs(top: Mapping[str, float], options: Sequence[str]) -> tuple[float, ...]:
    """The log-probability of each option as next text.

    A listed token stands for an option if it is the option's text, with or without one space before it ("1", " 1"), or
    the beginning of this option and of no other ("cor" for "correct" beside "wrong"). The probabilities of all tokens
    that stand for an option add up.

    An option that no listed token stands for gets an upper bound in place of its value: its first token can be no
    likelier than the least likely one listed, nor than all that the listed ones leave. A judge that compares it
    understates how far the other option is ahead, never who is ahead.

    Args:
        top: tokens as text, with their log-probabilities in nats.
        options: different texts.

    Raises:
        CapabilityError: a listed token is the beginning of two options, so that one token cannot tell them apart.
    """
    found: dict[str, list[float]] = {option: [] for option in options}
    for token, logprob in top.items():
        text = token.removeprefix(" ")
        begun = [option for option in options if text and option.removeprefix(" ").startswith(text)]
        if len(begun) > 1:
            raise CapabilityError(
                f"the options {', '.join(map(repr, options))} begin with the same token {token!r}, and the server "
                "gives log-probabilities of the next token only",
                hint="use options that differ in their first token, or the judge 'written'",
            )
        if begun:
            found[begun[0]].append(logprob)
    bound = _bound(list(top.values()))
    return tuple(_sum(found[option]) if found[option] else bound for option in options)


def listed_tokens(choice: Mapping[str, Any]) -> dict[str, float]:
    """The likeliest next tokens of a choice, the sampled one among them; empty if the server gave none.

    One text may be listed twice, for tokens that differ in their bytes or ids alone; the likelier stays.
    """
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    listed: list[Any] = []
    if isinstance(content, list) and content and isinstance(content[0], dict):
        listed = [*(content[0].get("top_logprobs") or ()), content[0]]
    top: dict[str, float] = {}
    for one in listed:
        if isinstance(one, dict) and isinstance(one.get("token"), str) and isinstance(one.get("logprob"), int | float):
            value = float(one["logprob"])
            top[one["token"]] = max(value, top.get(one["token"], -math.inf))
    return top


def _bound(listed: Sequence[float]) -> float:
    # Servers round: a list that seems to hold everything, or more, leaves what rounding hides.
    left = max(_ROUNDING, 1.0 - sum(math.exp(logprob) for logprob in listed))
    return min(*listed, math.log(left))


def _sum(logprobs: Sequence[float]) -> float:
    most = max(logprobs)
    if most == -math.inf:
        return most
    return min(0.0, most + math.log(sum(math.exp(logprob - most) for logprob in logprobs)))
