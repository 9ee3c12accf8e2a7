"""A reward model behind a scoring endpoint; see `stepsight.rewards.dialects` for what is said over HTTP."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Literal

from stepsight.engines.openai.address import Key, checked_url
from stepsight.engines.openai.faults import said
from stepsight.engines.openai.link import Link, Server
from stepsight.engines.openai.messages import PictureURLs
from stepsight.engines.openai.retrying import Backoff
from stepsight.errors import EngineError, InputError, ModelError, StepsightError
from stepsight.protocols import ValueRequest, ValueResult
from stepsight.rewards.dialects import DIALECTS, Info
from stepsight.tasks import together

KEY_VARIABLE = "STEPSIGHT_REWARD_KEY"
"""The environment variable that may hold an endpoint's key. Keys for models that answer are never sent to it."""

_Links = dict[asyncio.AbstractEventLoop, Link]


class EndpointReward:
    """A `RewardModel` that asks a scoring endpoint.

    It may be awaited from several event loops; each gets connections of its own. Requests that fail for the moment
    (429, 5xx, a cut connection, no reply in time) are sent again, after waits that grow and are drawn at random.
    Nothing is asked when it is made: `connect`, or the first use, asks what the endpoint is.

    Args:
        url: where the endpoint is, such as `http://localhost:8000`.
        dialect: "stepsight", or "vllm".
        model: what to call it; for vLLM the id of the model, which may be left out if there is one only.
        key: sent as a bearer token; taken from STEPSIGHT_REWARD_KEY if not given.
        batch: most answers in one request.
        most_at_once: most requests under way.
        timeout: seconds until a whole reply must be there.
        backoff: how often and after which waits to ask again.
        sleep: is awaited between attempts, and may raise.

    Raises:
        InputError: the address is none, or a number is out of range.
    """

    def __init__(
        self,
        url: str,
        *,
        dialect: Literal["stepsight", "vllm"] = "stepsight",
        model: str = "",
        key: Key | None = None,
        batch: int = 8,
        most_at_once: int = 4,
        timeout: float = 600.0,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if batch < 1 or most_at_once < 1 or timeout <= 0:
            raise InputError("batch, most_at_once and timeout are positive numbers", hint="leave them away")
        self._dialect = DIALECTS[dialect]
        self._batch = min(batch, self._dialect.batch or batch)
        base = checked_url(url)
        self.server = Server(
            base.removesuffix("/v1") if dialect == "vllm" else base.removesuffix("/score"),
            model,
            key if key is not None else _key(),
            timeout=timeout,
            most_at_once=most_at_once,
            backoff=backoff or Backoff(),
            refusal=_refused,
            sleep=sleep,
        )
        self._info: Info | None = None
        self._pictures = PictureURLs()
        self._links: _Links = {}
        # Nobody closes a reward model that is dropped; its connections must not outlive it.
        weakref.finalize(self, _close, self._links).atexit = False

    @property
    def name(self) -> str:
        """What the endpoint calls its model; its address before `connect`."""
        return self._info.name if self._info else self.server.model or self.server.url

    @property
    def scale(self) -> str:
        """What the endpoint says its scores are: "unbounded", "probability", "log-odds"; empty if it says nothing."""
        return self._info.scale if self._info else ""

    async def connect(self) -> EndpointReward:
        """Ask the endpoint what it is, and return self.

        Raises:
            StepsightError: nobody is there, or it is no scoring endpoint.
        """
        reply = await self._link().get(self._dialect.info)
        self._info = self._dialect.told(reply, self.server.url, self.server.model)
        return self

    async def value(self, requests: Sequence[ValueRequest]) -> list[ValueResult]:
        """Value many answers, at most `batch` in one request.

        Raises:
            CapabilityError: a request has more than a question before its answer, or the model is no reward model.
            PictureError: a picture cannot be read.
            EngineError: the endpoint failed, could not score an answer, or replied what no reply may be.
        """
        if self._info is None and requests:
            await self.connect()
        starts = range(0, len(requests), self._batch)
        parts = await together([self._value(requests[start : start + self._batch]) for start in starts])
        return [result for part in parts for result in part]

    async def aclose(self) -> None:
        """Close the connections of the running event loop; it can be asked again."""
        link = self._links.pop(asyncio.get_running_loop(), None)
        if link is not None:
            await link.aclose()

    def close(self) -> None:
        """Let go of the connections of all event loops, from code that is not async."""
        _close(self._links)

    async def _value(self, requests: Sequence[ValueRequest]) -> list[ValueResult]:
        payload = await self._dialect.payload(requests, self._pictures, self.name)
        reply = await self._link().post(self._dialect.score, payload)
        return self._dialect.values(reply, len(requests), self.server.url)

    def _link(self) -> Link:
        loop = asyncio.get_running_loop()
        if loop not in self._links:
            for gone in [other for other in self._links if other.is_closed()]:
                del self._links[gone]
            self._links[loop] = Link(self.server)
        return self._links[loop]


def _key() -> Key:
    value = os.environ.get(KEY_VARIABLE, "").strip()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise InputError(f"{KEY_VARIABLE} holds a character that no key has", hint="set it anew, in one line")
    return Key(value, KEY_VARIABLE if value else "")


def _refused(status: int, body: str, *, model: str, url: str, key: Key) -> StepsightError:
    """What a scoring endpoint's refusal means, and whether asking again may help."""
    words = said(body, key)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        # Not the endpoint's words: some repeat the key.
        return EngineError(
            f"the scoring endpoint {url} refused the request ({status})", hint=f"set {KEY_VARIABLE} to a valid key"
        )
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        return ModelError(
            f"{url} is no scoring endpoint, or does not have the model: {words}",
            hint="give the address of one; for a server of vLLM put vllm+ before http",
        )
    if 300 <= status < 400:
        return EngineError(f"the endpoint {url} sends us elsewhere ({status})", hint="give the address it really has")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return EngineError(f"a request is too large for the endpoint {url}: {words}", hint="use smaller batches")
    if status in (408, 429) or (status >= 500 and status != HTTPStatus.NOT_IMPLEMENTED):
        return EngineError(
            f"the scoring endpoint {url} is busy or broken ({status}): {words}",
            hint="see what it wrote to its standard error, and try again",
            retryable=True,
        )
    return EngineError(
        f"the scoring endpoint {url} does not take the request ({status}): {words}",
        hint="docs/rewards.md says what a request looks like",
    )


def _close(links: _Links) -> None:
    for loop, link in list(links.items()):
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(link.aclose(), loop)
    links.clear()
