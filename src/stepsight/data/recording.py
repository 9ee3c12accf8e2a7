"""An engine that asks through the ledger: what was answered before is taken from there, all else is paid and kept."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

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

    A server that reports no tokens is taken to have cost the worst: a cap that trusted it would be none. Requests that
    the engine itself sends again after a time-out are not seen here, and neither is what they cost.

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
        worst = self.prices.worst(request)
        reserved = await self.purse.reserve(worst)
        self.ledger.ask(key, self.question, self.role, _shown(request), reserved)
        self.asked += 1
        started, cost = time.perf_counter(), reserved
        try:
            result = await self.engine.sample(request, on_text)
            reply = self._reply(result, reserved, time.perf_counter() - started)
            self.ledger.receive(key, reply)
            cost = reply.price
        except (StepsightError, asyncio.CancelledError) as error:
            why = str(error) if isinstance(error, StepsightError) else "interrupted"
            # Only what is worth asking again may have reached the server's bill; a refused request has not.
            cost = 0 if isinstance(error, StepsightError) and not error.retryable else reserved
            self.ledger.lose(key, why, cost, time.perf_counter() - started)
            raise
        finally:
            await self.purse.settle(reserved, cost)
        # From the ledger even now: a run that goes on must see what this one sees.
        kept = self.ledger.reply(key)
        assert kept is not None
        return _result(kept)

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Not offered: nothing here scores."""
        raise NotImplementedError("a recorded engine does not score")

    def _reply(self, result: SampleResult, reserved: int, seconds: float) -> Reply:
        completion = result.completions[0]
        text = completion.piece.text
        told = result.computed + result.cached > 0 and (completion.tokens > 0 or not text)
        price = self.prices.price(result.computed, result.cached, completion.tokens) if told else reserved
        numbers = (result.computed, result.cached, completion.tokens)
        return Reply(text, completion.finish.value, completion.reason, *numbers, price, seconds)


def request_key(engine: str, role: str, question: str, request: SampleRequest) -> str:
    """The hash of a request. Pictures do not count: they belong to the question, and may move to another folder."""
    turns = [[turn.role, turn.text, len(turn.images)] for turn in request.turns]
    how = [request.seeds, request.stop, request.max_tokens, request.temperature, request.top_p]
    identity = json.dumps([engine, role, question, turns, [piece.text for piece in request.prefix], how])
    return hashlib.sha256(identity.encode("ascii")).hexdigest()


def _shown(request: SampleRequest) -> str:
    """The last thing said, to be kept where it is not the question itself: what was wrong with a malformed reply."""
    return request.turns[-1].text if len(request.turns) > 1 else ""


def _result(reply: Reply) -> SampleResult:
    completion = Completion(Piece(text=reply.text), Finish(reply.finish), reply.generated, None, reply.reason)
    return SampleResult((completion,), computed=reply.computed, cached=reply.cached)
