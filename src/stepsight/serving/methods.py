"""How to search, in a model's name: `pico@stage-beam:4`, `pico@adaptive:2000tok`, `pico@best-of-n:8+reward`.

    NAME   = MODEL ["@" METHOD]
    METHOD = SEARCH (":" PART)* ["+" JUDGE]
    PART   = 4         candidates drawn at a time
           | 2000tok   the most tokens that may be written in all
           | 30s       the most seconds
           | t0.6      the temperature, whatever the request says (benchmark harnesses send 0)

So any client that lets its user name a model can choose how that model searches.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from stepsight.assembly import SearchChoice
from stepsight.errors import InputError
from stepsight.protocols import Budget
from stepsight.search import is_judged, strategy

SEPARATOR = "@"

_PART = re.compile(
    r"(?P<width>\d{1,6})|(?P<tokens>\d{1,9})tok|(?P<seconds>\d{1,6}(?:\.\d{1,3})?)s|t(?P<heat>\d{1,3}(?:\.\d{1,3})?)",
    re.ASCII,
)
_LONGEST = 100
_HINT = "write it as stage-beam:4, adaptive:2000tok, best-of-n:8+reward, or stage-beam:4:t0.6"


@dataclass(frozen=True)
class Method:
    """What a name, or a request, says of how to search; None and empty: nothing."""

    search: str = ""
    width: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    temperature: float | None = None
    judge: str = ""

    def applied_to(self, plan: SearchChoice, judge: str) -> SearchChoice:
        """The plan with what is said here; `judge` is asked where none is named.

        Raises:
            InputError: a number is out of range.
            CapabilityError: the judge cannot serve the strategy.
        """
        settings, budget = plan.settings, plan.settings.budget
        if self.width is not None:
            settings = replace(settings, width=self.width, survivors=min(settings.survivors, max(1, self.width)))
        if self.temperature is not None:
            settings = replace(settings, temperature=self.temperature)
        settings = replace(
            settings,
            budget=Budget(
                budget.tokens if self.tokens is None else self.tokens,
                budget.seconds if self.seconds is None else self.seconds,
                budget.candidates,
            ),
        )
        return SearchChoice(self.search or plan.search, self.judge or judge, settings)


def parse_method(text: str) -> Method:
    """Read what stands behind the `@`.

    Raises:
        InputError: it cannot be read, or names no strategy; the hint shows how to write it.
    """
    if len(text) > _LONGEST:
        raise InputError("the method in the model's name is too long", hint=_HINT)
    head, plus, judge = text.partition("+")
    search, *parts = head.split(":")
    strategy(search)
    if plus and not judge:
        raise InputError("the method in the model's name ends in a +, and names no judge", hint=_HINT)
    found: dict[str, str] = {}
    for part in parts:
        match = _PART.fullmatch(part)
        if match is None:
            raise InputError("a part of the method in the model's name cannot be read", hint=_HINT)
        ((kind, value),) = ((kind, value) for kind, value in match.groupdict().items() if value is not None)
        if kind in found:
            raise InputError("the method in the model's name says the same thing twice", hint=_HINT)
        found[kind] = value
    return Method(
        search,
        width=int(found["width"]) if "width" in found else None,
        tokens=int(found["tokens"]) if "tokens" in found else None,
        seconds=float(found["seconds"]) if "seconds" in found else None,
        temperature=float(found["heat"]) if "heat" in found else None,
        judge=judge,
    )


def method_name(plan: SearchChoice) -> str:
    """A plan in the same words: the strategy, what it draws and may spend, and who judges."""
    settings, budget = plan.settings, plan.settings.budget
    name = plan.search
    if plan.search not in ("greedy", "swires", "adaptive"):
        name += f":{settings.width}"
    if budget.tokens is not None:
        name += f":{budget.tokens}tok"
    if budget.seconds is not None:
        name += f":{budget.seconds:g}s"
    return f"{name}+{plan.judge}" if is_judged(plan.search, settings.width, plan.judge) else name
