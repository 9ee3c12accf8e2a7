"""The engine that drives a server over the chat protocol of OpenAI: vLLM, SGLang, llama.cpp, a hosted API."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from stepsight.engines.openai.findings import ProbeReport, StopEnds
from stepsight.engines.openai.grammars import form_in
from stepsight.engines.openai.labels import listed_tokens, option_logprobs
from stepsight.engines.openai.link import Json, Link, Server
from stepsight.engines.openai.messages import Message, PictureURLs, beginning_of, messages_of
from stepsight.engines.openai.replies import Billed, billed, choices_of, completions_of
from stepsight.engines.openai.streaming import Teller
from stepsight.engines.openai.warming import Warmer
from stepsight.errors import CapabilityError, EngineError
from stepsight.protocols import (
    Capabilities,
    Completion,
    OnText,
    SampleRequest,
    SampleResult,
    ScoreRequest,
    ScoreResult,
)
from stepsight.tasks import together

COMPLETIONS = "/chat/completions"
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
"""What a server needs to be told to reply in events, the last of which says what is billed."""
CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}
"""What vLLM, SGLang and llama.cpp (since May 2026) need to be told to go on with the assistant's message."""
MOST_STOPS = 4
"""So many stop strings OpenAI's protocol allows; text after a further one is cut off here."""


_Links = dict[asyncio.AbstractEventLoop, tuple[Link, Warmer]]


class OpenAIEngine:
    """Continues and scores through a server, as far as a probe has seen that server able to.

    It may be awaited from several event loops; each gets connections of its own. How many requests are under way
    adapts to what the server takes. For `on_text` replies are streamed where the probe saw that work; else it is told
    each continuation once, when it is whole.

    It does not cover: sampled token ids (a prefix goes back as text, which the server tokenises anew), and seeds where
    `report.seeds` is not "yes": then the server draws its own random numbers and a run cannot be repeated.

    Args:
        server: where to ask, and with what patience.
        report: what a probe found out about it; see `stepsight.engines.openai.probe`.
    """

    def __init__(self, server: Server, report: ProbeReport) -> None:
        self.server = server
        self.report = report
        self.pictures = PictureURLs()
        self._links: _Links = {}
        # Nobody closes an engine that is dropped for another model; its connections must not outlive it.
        weakref.finalize(self, _close, self._links).atexit = False

    @property
    def name(self) -> str:
        """`openai:` and the model's id on the server."""
        return f"openai:{self.server.model}"

    @property
    def capabilities(self) -> Capabilities:
        """What the probe saw working."""
        return self.report.capabilities

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        """Sample one continuation per seed.

        Where the server gives several choices and no seeds are sent, one request asks for all; how many come back is
        counted, and the rest is asked for one by one. Otherwise one request goes first, so that its siblings find
        their common beginning in the server's cache.

        Raises:
            CapabilityError: there is a prefix, and the server continues none; or a grammar is wanted, and it has none.
            StepsightError: the server refused or failed; see `stepsight.engines.openai.faults`.
        """
        if request.staged and (request.prefix or not self.capabilities.grammar):
            why = "to go on with a text" if request.prefix else self.report.grammar.evidence
            raise CapabilityError(f"the engine {self.name} has no grammar for that: {why}", hint="ask without `staged`")
        messages = await self._messages(request)
        payload = self._payload(messages, request)
        wanted = len(request.seeds)
        seeded = self.capabilities.seeds and request.temperature > 0

        done: list[Completion] = []
        bills: list[Billed] = []

        def teller(*slots: int) -> Teller | None:
            return None if on_text is None else Teller(on_text, request.stop, slots)

        async def single(slot: int) -> tuple[Completion, Billed]:
            one = {**payload, "seed": request.seeds[slot]} if seeded else payload
            completions, bill = await self._complete(messages, one, request, teller(slot))
            return completions[0], bill

        if wanted > 1 and self.report.n.yes and not seeded:
            several = {**payload, "n": wanted}
            completions, bill = await self._complete(messages, several, request, teller(*range(wanted)))
            bills.append(bill)
            done += completions[:wanted]  # should there be more than asked for, they are billed and dropped
        for completion, bill in await together([single(slot) for slot in range(len(done), wanted)]):
            done.append(completion)
            bills.append(bill)
        return SampleResult(
            tuple(done),
            computed=sum(bill.computed for bill in bills),
            cached=sum(bill.cached for bill in bills),
            prompt=max(bill.prompt for bill in bills) if bills else 0,
        )

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Log-probabilities of options as next text, from the likeliest next tokens that the server lists.

        An option that is not listed gets an upper bound; see `option_logprobs`. All requests run at once.

        Raises:
            CapabilityError: the server lists none, or one token cannot tell the options apart.
            StepsightError: the server refused or failed.
        """
        if not self.capabilities.logprobs:
            raise CapabilityError(
                f"the engine {self.name} gives no log-probabilities: {self.report.logprobs.evidence}",
                hint="use the judge 'written', which reads what the model writes",
            )
        return await together([self._score(request) for request in requests])

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and forget those of loops that are gone."""
        link, _ = self._links.pop(asyncio.get_running_loop(), (None, None))
        if link is not None:
            await link.aclose()

    @property
    def link(self) -> Link:
        """The connections of the running event loop."""
        return self._here()[0]

    def _here(self) -> tuple[Link, Warmer]:
        loop = asyncio.get_running_loop()
        if loop not in self._links:
            for gone in [other for other in self._links if other.is_closed()]:
                del self._links[gone]
            self._links[loop] = Link(self.server), Warmer()
        return self._links[loop]

    async def _messages(self, request: SampleRequest | ScoreRequest) -> list[Message]:
        if any(piece.text for piece in request.prefix) and not self.capabilities.prefix:
            raise CapabilityError(
                f"the engine {self.name} cannot continue a text: {self.report.prefix.evidence}",
                hint="use the strategy 'best-of-n', which writes each answer in one go",
            )
        return await messages_of(request.turns, request.prefix, self.pictures)

    def _payload(self, messages: list[Message], request: SampleRequest) -> dict[str, Any]:
        payload: dict[str, Any] = {
            "model": self.server.model,
            "messages": messages,
            self.report.length_key: request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
        }
        if messages[-1]["role"] == "assistant":
            payload |= CONTINUE
        if request.stop and self.report.stop_ends is not StopEnds.OWN:
            payload["stop"] = list(request.stop[:MOST_STOPS])
            if self.report.stop_ends is StopEnds.INCLUDED:
                payload["include_stop_str_in_output"] = True
        if self._reports_own:
            payload["logprobs"] = True
        if request.staged:
            payload |= form_in(self.report.grammar_key)
        return payload

    @property
    def _reports_own(self) -> bool:
        """Whether log-probabilities in a reply are the model's own, at temperature 1, whatever was sampled at."""
        return self.capabilities.logprobs and self.report.untempered.yes

    async def _complete(
        self, messages: list[Message], payload: Json, request: SampleRequest, teller: Teller | None
    ) -> tuple[tuple[Completion, ...], Billed]:
        async with self._after_first(messages) as link:
            if teller is not None and self.report.streams.yes:
                reply = await link.stream(COMPLETIONS, {**payload, **STREAM}, teller.hear, request.meter)
            else:
                reply = await link.post(COMPLETIONS, payload, request.meter)
        completions, bill = completions_of(reply, request.stop, url=self.server.url, logprobs=self._reports_own)
        if teller is not None:
            # What was not streamed, and a stop string that the server cut off and named.
            for index, completion in enumerate(completions[: len(teller)]):
                teller.settle(index, completion.piece.text)
        return completions, bill

    async def _score(self, request: ScoreRequest) -> ScoreResult:
        messages = await self._messages(request)
        payload: dict[str, Any] = {
            "model": self.server.model,
            "messages": messages,
            self.report.length_key: 1,
            # At temperature 1 it makes no difference whether a server reports before or after tempering.
            "temperature": 1.0,
            "top_p": 1.0,
            "logprobs": True,
            "top_logprobs": self.report.top_logprobs,
        }
        if messages[-1]["role"] == "assistant":
            payload |= CONTINUE
        async with self._after_first(messages) as link:
            reply = await link.post(COMPLETIONS, payload)
        bill = billed(reply)
        top = listed_tokens(choices_of(reply, self.server.url)[0])
        if not top:
            raise EngineError(
                f"the engine {self.name} gave no log-probabilities, which it did when it was probed",
                hint="use the judge 'written'",
                retryable=True,
            )
        return ScoreResult(option_logprobs(top, request.options), computed=bill.computed, cached=bill.cached)

    @asynccontextmanager
    async def _after_first(self, messages: list[Message]) -> AsyncIterator[Link]:
        link, warmer = self._here()
        async with warmer.turn(beginning_of(messages)):
            yield link


def _close(links: _Links) -> None:
    for loop, (link, _) in links.items():
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(link.aclose(), loop)
