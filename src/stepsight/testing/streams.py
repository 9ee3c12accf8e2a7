"""A reply as the events that it is streamed in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from stepsight.engines.scripted import tokens_of
from stepsight.testing.manners import Fault

DONE = "[DONE]"


def events_of(reply: Mapping[str, Any], *, usage: bool) -> Iterator[str]:
    """What stands behind `data:`: a token of each choice in turn, reasons to end, the usage, and the end."""
    head = {"id": reply["id"], "object": "chat.completion.chunk"}

    def event(choices: list[dict[str, Any]], **more: object) -> str:
        return json.dumps({**head, "choices": choices, **more}, ensure_ascii=False)

    told = {"usage": None} if usage else {}
    for choice in reply["choices"]:
        yield event([_delta(choice, {"role": "assistant", "content": ""})], **told)
    for step in zip_longest(*([(choice, piece) for piece in _pieces(choice)] for choice in reply["choices"])):
        for choice, (text, logprobs) in (one for one in step if one is not None):
            more = {} if logprobs is None else {"logprobs": {"content": logprobs}}
            yield event([_delta(choice, {"content": text}, **more)], **told)
    for choice in reply["choices"]:
        ending = {key: choice[key] for key in ("finish_reason", "stop_reason") if key in choice}
        yield event([_delta(choice, {}, **ending)], **told)
    if usage:
        yield event([], usage=reply["usage"])
    yield DONE


def damaged(events: Iterator[str], fault: Fault) -> Iterator[str]:
    """The same events with what the fault does to them."""
    for number, event in enumerate(events):
        if fault.events is not None and number >= fault.events:
            return
        if fault.last is not None and (event == DONE or '"finish_reason": null' not in event):
            yield fault.last
            return
        yield event[: len(event) // 2] if number == fault.spoilt else event


def _pieces(choice: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]] | None]]:
    """Tokens of a choice with their log-probabilities, where there are any; a stop string may be left of the latter."""
    steps = tokens_of(choice["message"]["content"] or "")
    listed = (choice.get("logprobs") or {}).get("content")
    for place, step in enumerate(steps):
        rest = None if listed is None else listed[place:] if place == len(steps) - 1 else listed[place : place + 1]
        yield step, rest


def _delta(choice: Mapping[str, Any], delta: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"index": choice["index"], "delta": delta, "finish_reason": None, **more}
