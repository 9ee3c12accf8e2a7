"""Searches that a client asked to keep: for a while, as JSON and as a page that can be saved and shared."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass

from stepsight.records import Trace
from stepsight.reports.page import page_of
from stepsight.serving.chat_replies import public_trace
from stepsight.serving.refusals import Refused

_MOST = 128
_MOST_BYTES = 128_000_000


@dataclass(frozen=True)
class KeptTrace:
    """One search."""

    json: bytes
    html: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.json) + len(self.html)


def kept_trace(trace: Trace, model: str) -> KeptTrace:
    """A trace as it is kept; reads the picture, which must be there still."""
    public = public_trace(trace, model)
    shown = public.model_copy(update={"question": trace.question})
    return KeptTrace(public.model_dump_json().encode(), page_of(shown).encode())


class TraceShelf:
    """The latest of them, under ids that cannot be guessed."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, KeptTrace] = OrderedDict()

    def keep(self, kept: KeptTrace) -> str:
        """Keep a search; its id."""
        name = f"trace-{secrets.token_hex(16)}"
        self._kept[name] = kept
        while len(self._kept) > _MOST or (
            len(self._kept) > 1 and sum(one.size for one in self._kept.values()) > _MOST_BYTES
        ):
            self._kept.popitem(last=False)
        return name

    def find(self, name: str) -> KeptTrace:
        """A search that was kept.

        Raises:
            Refused: there is none of this id any more.
        """
        if name not in self._kept:
            raise Refused(404, "there is no trace of this id, or it was kept long enough", "trace_not_found")
        return self._kept[name]
