"""One request goes first, its siblings follow: the server then holds their common beginning already.

Sent all at once, siblings would each find an empty cache and each compute the picture.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

REMEMBERED = 4096
"""So many beginnings are taken to be in the server's cache."""


class Warmer:
    """Knows which beginnings were sent; belongs to one event loop.

    It cannot know what the server has forgotten since: then siblings run at once and compute the beginning each for
    itself, which costs time and nothing else.
    """

    def __init__(self) -> None:
        self._sent: OrderedDict[str, asyncio.Event] = OrderedDict()

    @asynccontextmanager
    async def turn(self, beginning: str) -> AsyncIterator[None]:
        """Hold the block back while another request with this beginning is the first one under way.

        If the first fails or is cancelled, one of those who waited takes its place.
        """
        while (first := self._sent.get(beginning)) is not None and not first.is_set():
            await first.wait()
        if beginning in self._sent:
            self._sent.move_to_end(beginning)
            yield
            return
        done = self._sent[beginning] = asyncio.Event()
        try:
            yield
        except BaseException:
            self._sent.pop(beginning, None)
            raise
        finally:
            done.set()
            while len(self._sent) > REMEMBERED:
                self._sent.popitem(last=False)
