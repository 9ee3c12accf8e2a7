"""An engine that asks through the ledger: what was answered before is taken from there, all else is paid and kept."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from stepsight.data.ledger import Ledger
from stepsight.data.ledger_tables import Reply
from stepsight.data.prices import Prices, Purse
from stepsight.errors import StepsightError
from stepsight.protocols import (
    Capabilities,
    Completion,
    Engine,
    OnText,
    SampleRequest,
    SampleResult,
    ScoreRequest,
    ScoreResult,
)
from stepsight.records import Finish, Piece


@dataclass
class RecordingEngine:
    """Asks `engine` for one question, in one role, one continuation at a time.

    A server that reports no tokens is taken to have cost the worst: a cap that trusted it would be none. So is every
    sending without a reply that may have been billed, those that the engine repeats by itself among them.

    Attributes:
        asked: how many requests went to the engine; `recalled`: how many the ledger answered.
    """

    engine: Engine
    ledger: Ledger
    purse: Purse
    prices: Prices
    question: str
    role: str
    asked: int = field(default=0, init=False)
    recalled: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        """That of the engine."""
        return self.engine.name

    @property
    def capabilities(self) -> Capabilities:
        """Those of the engine."""
        return self.engine.capabilities

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        """The recorded reply, or a new one, which is committed before it is returned.

        Raises:
            CapReachedError: it might cost more than is left.
            StepsightError: as the engine raises.
        """
        if len(request.seeds) != 1:
            raise ValueError("a recorded request asks for one continuation")
        key = request_key(self.engine.name, self.role, self.question, request)
        if (known := self.ledger.reply(key)) is not None:
            self.recalled += 1
            return _result(known)
        while True:
            worst = self.prices.worst(request)
            meter = _Sending(self, key, _shown(request), worst, await self.purse.reserve(worst))
            self.asked += 1
            try:
                result = await self.engine.sample(replace(request, meter=meter), on_text)
                await meter.answered(result)
                break
            except (StepsightError, asyncio.CancelledError) as error:
                passing = not isinstance(error, StepsightError) or error.retryable
                why = str(error) if isinstance(error, StepsightError) else "interrupted"
                # Only what is worth asking again may have reached the server's bill; a refused request has not.
                await meter.failed(why, billed=passing)
                if not meter.short or isinstance(error, asyncio.CancelledError):
                    raise
                # There was no money left for sending it once more while others held theirs: now wait for it.
            finally:
                await meter.abandoned()
        # From the ledger even now: a run that goes on must see what this one sees.
        kept = self.ledger.reply(key)
        assert kept is not None
        return _result(kept)

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Not offered: nothing here scores."""
        raise NotImplementedError("a recorded engine does not score")


class _Sending:
    """One request on its way, sent once or more: money is set aside before each sending, and the ledger knows of it.

    `open`: a sending is under way. `short`: it could not be sent again for want of money.
    """

    def __init__(self, asker: RecordingEngine, key: str, shown: str, worst: int, reserved: int) -> None:
        self._asker, self._key, self._shown, self._worst = asker, key, shown, worst
        self.short = False
        self._first = time.perf_counter()
        self._send(reserved)

    async def failed(self, why: str, *, billed: bool) -> None:
        """A sending came to nothing; what it may have cost is spent. Nothing happens if none is under way."""
        if not self.open:
            return
        cost = self._reserved if billed else 0
        self._asker.ledger.lose(self._key, why, cost, time.perf_counter() - self._started)
        await self._close(cost)

    async def again(self) -> bool:
        """Whether there is money to send it once more.

        It does not wait for any: the engine may hold back others who have theirs.
        """
        reserved = self._asker.purse.reserve_now(self._worst)
        if reserved is None:
            self.short = True
            return False
        self._send(reserved)
        return True

    async def answered(self, result: SampleResult) -> None:
        """Commit the reply, and pay for it."""
        completion = result.completions[0]
        text = completion.piece.text
        told = result.computed + result.cached > 0 and (completion.tokens > 0 or not text)
        numbers = (result.computed, result.cached, completion.tokens)
        price = self._asker.prices.price(*numbers) if told else self._reserved
        seconds = time.perf_counter() - self._first
        reply = Reply(text, completion.finish.value, completion.reason, *numbers, price, seconds)
        self._asker.ledger.receive(self._key, reply)
        await self._close(price)

    async def abandoned(self) -> None:
        """Whatever has not come to its end stays in the ledger as sent, and counts as paid."""
        if self.open:
            await self._close(self._reserved)

    def _send(self, reserved: int) -> None:
        self._asker.ledger.ask(self._key, self._asker.question, self._asker.role, self._shown, reserved)
        self._reserved, self._started, self.open = reserved, time.perf_counter(), True

    async def _close(self, cost: int) -> None:
        self.open = False
        await self._asker.purse.settle(self._reserved, cost)


def request_key(engine: str, role: str, question: str, request: SampleRequest) -> str:
    """The hash of a request. Pictures do not count: they belong to the question, and may move to another folder."""
    turns = [[turn.role, turn.text, len(turn.images)] for turn in request.turns]
    how = [request.seeds, request.stop, request.max_tokens, request.temperature, request.top_p, request.staged]
    identity = json.dumps([engine, role, question, turns, [piece.text for piece in request.prefix], how])
    return hashlib.sha256(identity.encode("ascii")).hexdigest()


def _shown(request: SampleRequest) -> str:
    """The last thing said, to be kept where it is not the question itself: what was wrong with a malformed reply."""
    return request.turns[-1].text if len(request.turns) > 1 else ""


def _result(reply: Reply) -> SampleResult:
    completion = Completion(Piece(text=reply.text), Finish(reply.finish), reply.generated, None, reply.reason)
    return SampleResult((completion,), computed=reply.computed, cached=reply.cached)
