"""What the fake server does and leaves undone, always and with single requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Manners:
    """What the server does with every request.

    stops: "included" (leaves stop strings in if asked to), "named", "cut" (without a word) or "ignored". n: the most
    choices it gives. logprobs: so many likely tokens it lists at most. cache: reports cached tokens. blind: its cache
    looks at a picture's place only. strict: an unknown field is an error. seeds: "kept", "ignored" or "deadly".
    tempered: log-probabilities depend on the temperature. streams: "whole" (with usage when asked for), "unbilled"
    (without) or "never" (replies in one go). key: locks out whoever does not send it. context: its limit, in words.
    grammar: the field in which it is told to hold a reply to the four stages; empty: it cannot. thinks: the text is not
    in the answer. finish: the reason to end that it always gives.
    """

    prefix: bool = True
    images: bool = True
    n: int = 99
    stops: Literal["included", "named", "cut", "ignored"] = "included"
    logprobs: int = 20
    tempered: bool = False
    cache: bool = True
    blind: bool = False
    strict: bool = False
    seeds: Literal["kept", "ignored", "deadly"] = "kept"
    streams: Literal["whole", "unbilled", "never"] = "whole"
    key: str = ""
    grammar: Literal["structured_outputs", "guided_regex", "regex", "grammar", ""] = "structured_outputs"
    context: int = 100_000
    thinks: bool = False
    models: tuple[str, ...] = ("scripted-vl",)
    finish: str = ""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request: a wait, then a status other than 200, or a reply that is damaged.

    status, message, headers: a refusal, such as `Fault(429, headers={"Retry-After": "7"})`.
    wait: seconds before the first byte; it ends early once `until` says so.
    cut: the connection is closed after so many bytes of the reply; 0: without a word.
    worked: the model has worked, and the bill grown, before a refusal, or a wait whose end nobody sees.
    truncated: the reply ends in its middle, and claims to be whole.
    body: bytes that stand in for the reply.
    Of a reply that is streamed: `pause` seconds before each event; it ends, as if whole, after `events` of them; the
    event with the number `spoilt` is no JSON; `last` stands in for the last ones, from the first reason to end on.
    """

    status: int = 200
    message: str = "injected"
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    until: Callable[[], bool] = lambda: False
    cut: int | None = None
    worked: bool = False
    truncated: bool = False
    body: bytes | None = None
    pause: float = 0.0
    events: int | None = None
    spoilt: int | None = None
    last: str | None = None
