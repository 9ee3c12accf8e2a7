"""A reply that comes in events: told while it is written, and put together to what it would have been in one go."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from stepsight.engines.openai.address import Key
from stepsight.engines.openai.faults import refusal, unreadable
from stepsight.engines.openai.replies import cut_at_stop
from stepsight.errors import StepsightError
from stepsight.protocols import OnText

Hear = Callable[[int, str], None]
"""Called with the index of a choice and its text so far."""

_DONE = "[DONE]"


class BadStreamError(Exception):
    """A stream that cannot be used; `error` says why, and whether asking again may help."""

    def __init__(self, error: StepsightError) -> None:
        super().__init__(str(error))
        self.error = error


async def whole_reply(chunks: AsyncIterator[bytes], hear: Hear, *, model: str, url: str, key: Key) -> Mapping[str, Any]:
    """Read a stream to its end.

    Raises:
        BadStreamError: an event is no JSON object or reports an error, a choice has no reason to end, or the end is
            missing. What was heard until then is no answer.
    """
    reply = _Reply(hear)
    async with aclosing(_events(chunks)) as events:
        async for data in events:
            if data == _DONE:
                return reply.whole(url, ended=True)
            try:
                event = json.loads(data)
            except ValueError:
                raise BadStreamError(unreadable(url, "an event of its stream is no JSON")) from None
            if not isinstance(event, dict):
                raise BadStreamError(unreadable(url, "an event of its stream is no JSON object"))
            if event.get("error"):
                code = event["error"].get("code") if isinstance(event["error"], dict) else None
                status = code if isinstance(code, int) and 400 <= code < 600 else 500
                raise BadStreamError(refusal(status, data, model=model, url=url, key=key))
            if not reply.take(event):
                raise BadStreamError(unreadable(url, "an event of its stream holds a choice that is none"))
    return reply.whole(url, ended=False)


class Teller:
    """Tells new text of each choice once, up to its stop string.

    Where a request is sent anew, text that was told cannot be taken back: if the new text begins with it, what follows
    is told, else nothing more. The completion holds what counts.
    """

    def __init__(self, on_text: OnText, stop: Sequence[str], slots: Sequence[int]) -> None:
        self._on_text = on_text
        self._stop = stop
        self._slots = slots
        self._told = [""] * len(slots)

    def __len__(self) -> int:
        return len(self._slots)

    def hear(self, index: int, text: str) -> None:
        """Take in the text of a choice so far. More choices than were asked for are nobody's."""
        if index < len(self):
            self.settle(index, text[: cut_at_stop(text, self._stop)])

    def settle(self, index: int, text: str) -> None:
        """Tell what is new in a text that is cut where it has to be."""
        told = self._told[index]
        if len(text) > len(told) and text.startswith(told):
            self._told[index] = text
            self._on_text(self._slots[index], text[len(told) :])


class _Reply:
    """Choices as far as they have come, in the form of a reply that is not streamed."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: object = None

    def take(self, event: Mapping[str, Any]) -> bool:
        """Whether the event could be read."""
        self._usage = event.get("usage") or self._usage
        choices = event.get("choices") or ()
        return isinstance(choices, list | tuple) and all(self._grow(choice) for choice in choices)

    def whole(self, url: str, *, ended: bool) -> dict[str, Any]:
        """The reply, if it is one. Without the mark of its end it is one if the usage came, which is the last event."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        if not ended and not self._usage:
            raise BadStreamError(unreadable(url, "its stream ended too soon"))
        if not choices or list(self._choices.keys() ^ range(len(choices))):
            raise BadStreamError(unreadable(url, "its stream lacks a choice"))
        if any(choice["finish_reason"] is None for choice in choices):
            raise BadStreamError(unreadable(url, "its stream ended without a reason"))
        return {"choices": choices, "usage": self._usage}

    def _grow(self, part: object) -> bool:
        if not isinstance(part, dict):
            return False
        index, delta = part.get("index"), part.get("delta")
        if not isinstance(index, int) or index < 0 or not isinstance(delta, dict | None):
            return False
        new = {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None}
        choice = self._choices.setdefault(index, new)
        for name in ("content", "refusal"):
            text = (delta or {}).get(name)
            if isinstance(text, str) and text:
                choice["message"][name] = (choice["message"].get(name) or "") + text
        for name in ("finish_reason", "stop_reason", "matched_stop"):
            if part.get(name) is not None:
                choice[name] = part[name]
        logprobs = part.get("logprobs")
        if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
            choice.setdefault("logprobs", {"content": []})["content"] += logprobs["content"]
        if (delta or {}).get("content"):
            self._hear(index, choice["message"]["content"])
        return True


async def _events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[str]:
    """The data of server-sent events.

    Lines are parted here, at line feeds alone: a model may well write one of the other characters that Python takes
    for the end of a line, and JSON may hold them as they are.
    """
    held, data = b"", list[str]()
    async for chunk in chunks:
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            for event in _taken(line, data):
                yield event
    for event in (*_taken(held, data), *_taken(b"", data)):
        yield event


def _taken(line: bytes, data: list[str]) -> Iterator[str]:
    """Take in a line; an empty one ends an event."""
    text = line.removesuffix(b"\r").decode("utf-8", "replace")
    if not text and data:
        yield "\n".join(data)
        data.clear()
    elif text.startswith("data:"):
        data.append(text.removeprefix("data:").removeprefix(" "))
