"""What tokens cost, and the purse that never lets more be spent than is allowed.

Amounts are whole picodollars (10**-12 dollars), so that sums are exact: a price of one dollar for a million tokens is
a million picodollars a token.
"""

from __future__ import annotations

import asyncio
import math

from pydantic import Field

from stepsight.errors import StepsightError
from stepsight.protocols import SampleRequest
from stepsight.recipes import Recipe

PICO = 10**12
_TURN_TOKENS = 32
"""What a chat template may add to each turn, generously."""


class Prices(Recipe):
    """Dollars for a million tokens: of prompts, of prompts found in the server's cache, of replies.

    `cached` unless given costs as much as any prompt. `picture_tokens` is the most that a picture may count for; what
    is reserved before a request depends on it.
    """

    input: float = Field(default=0.0, ge=0.0)
    output: float = Field(default=0.0, ge=0.0)
    cached: float | None = Field(default=None, ge=0.0)
    picture_tokens: int = Field(default=4096, ge=0)

    @property
    def free(self) -> bool:
        """Whether nothing costs anything."""
        return not (self.input or self.output or self.cached)

    def price(self, computed: int, cached: int, generated: int) -> int:
        """Picodollars of a reply, rounded up."""
        of_cached = self.input if self.cached is None else self.cached
        dollars_by_million = computed * self.input + cached * of_cached + generated * self.output
        # A last digit of the float must not round up what is exact.
        return math.ceil(round(dollars_by_million * 1e6, 3))

    def worst(self, request: SampleRequest) -> int:
        """Picodollars that a request may cost at most.

        No tokenizer of the kind used by language models makes more tokens than a text has bytes.
        """
        tokens = sum(
            len(turn.text.encode("utf-8", "replace")) + _TURN_TOKENS + self.picture_tokens * len(turn.images)
            for turn in request.turns
        )
        tokens += sum(len(piece.text.encode("utf-8", "replace")) for piece in request.prefix)
        dearest = self.model_copy(update={"input": max(self.input, self.cached or 0.0), "cached": None})
        return dearest.price(tokens * len(request.seeds), 0, request.max_tokens * len(request.seeds))


class CapReachedError(StepsightError):
    """The next request might cost more than is left."""


class Purse:
    """Money of a run. Before a request its worst price is reserved; afterwards what it did cost is taken out.

    So `spent` never exceeds `limit`, whatever is under way, as long as no reply costs more than was reserved for it.
    One that does (pictures that count for more than `Prices.picture_tokens`) is paid, and from then on all
    reservations grow by as much. It is used from one event loop.
    """

    def __init__(self, limit: int | None = None, spent: int = 0) -> None:
        self.limit = limit
        self.spent = spent
        self.reserved = 0
        self.most_at_risk = spent
        self._growth = 1.0
        self._settled = asyncio.Condition()

    async def reserve(self, worst: int) -> int:
        """Set money aside, waiting for others to settle if that may make room; returns how much.

        Raises:
            CapReachedError: there is not enough left even if all that is reserved comes back.
        """
        async with self._settled:
            while (amount := self.reserve_now(worst)) is None:
                limit = self.limit or 0
                if not self.reserved:
                    raise CapReachedError(
                        f"the next request may cost up to {dollars(math.ceil(worst * self._growth))}, and of "
                        f"{dollars(limit)} {dollars(max(0, limit - self.spent))} is left",
                        hint="the same command with --resume and a higher --max-dollars goes on",
                    )
                await self._settled.wait()
            return amount

    def reserve_now(self, worst: int) -> int | None:
        """Set money aside if there is enough at this moment; returns how much, None if there is not.

        It is for those who hold something that others wait for, and so must not wait themselves.
        """
        amount = math.ceil(worst * self._growth)
        if self.limit is not None and self.spent + self.reserved + amount > self.limit:
            return None
        self.reserved += amount
        self.most_at_risk = max(self.most_at_risk, self.spent + self.reserved)
        return amount

    async def settle(self, reserved: int, cost: int) -> None:
        """Give back what was reserved, and take out what the request did cost."""
        self.reserved -= reserved
        self.spent += cost
        if cost > reserved > 0:
            self._growth *= cost / reserved
        async with self._settled:
            self._settled.notify_all()


def dollars(amount: int) -> str:
    """An amount as text: `$1.25`, or with more digits if it is small."""
    value = amount / PICO
    return f"${value:.2f}" if value >= 1 or not value else f"${value:.4g}"
