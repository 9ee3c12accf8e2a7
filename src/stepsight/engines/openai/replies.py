"""A server's reply as completions: text with its stop string, the reason it ended, and what was billed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepsight.engines.openai.faults import unreadable
from stepsight.protocols import Completion
from stepsight.records import Finish, Piece

_log = logging.getLogger(__name__)

_SHOWN = 300
_FINISHES = {
    "stop": Finish.STOP,
    "eos": Finish.STOP,
    "eos_token": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
}
"""Dialects of the reasons to end; all others (`content_filter`, `tool_calls`, `abort`, ...) are errors."""


@dataclass(frozen=True)
class Billed:
    """The prompt's tokens, those of them reused from the cache, and the tokens generated over all choices."""

    prompt: int
    cached: int
    generated: int

    @property
    def computed(self) -> int:
        """Prompt tokens that were not reused."""
        return self.prompt - self.cached


def choices_of(reply: Mapping[str, Any], url: str) -> list[Mapping[str, Any]]:
    """The choices of a reply, in the order of their indices.

    Raises:
        EngineError: there is none; asking again may help.
    """
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(one, dict) for one in choices):
        raise unreadable(url, "it holds no choices")
    return sorted(choices, key=lambda choice: _number(choice.get("index")))


def billed(reply: Mapping[str, Any]) -> Billed:
    """What the server says it counted; what it does not say is 0."""
    usage = _mapping(reply.get("usage"))
    prompt = _number(usage.get("prompt_tokens"))
    details = _mapping(usage.get("prompt_tokens_details"))
    cached = min(prompt, _number(details.get("cached_tokens")))
    return Billed(prompt, cached, _number(usage.get("completion_tokens")))


def text_of(choice: Mapping[str, Any]) -> str:
    """The text of a choice; empty if it has none (a refusal, a tool call, a thought without an answer)."""
    content = _mapping(choice.get("message")).get("content")
    return content if isinstance(content, str) else ""


def completions_of(
    reply: Mapping[str, Any], stop: Sequence[str], *, url: str, logprobs: bool
) -> tuple[tuple[Completion, ...], Billed]:
    """All choices of a reply.

    Args:
        reply: the JSON object.
        stop: the stop strings of the request, sent or not.
        url: of the server, for errors.
        logprobs: whether the log-probabilities in the reply are the model's own at temperature 1.

    Raises:
        EngineError: it holds no choices.
    """
    choices = choices_of(reply, url)
    count = billed(reply)
    shares = _shares(choices, count.generated)
    return tuple(
        _completion(choice, stop, tokens, logprobs) for choice, tokens in zip(choices, shares, strict=True)
    ), count


def cut_at_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where a text ends that holds a stop string: behind the first; None if it holds none."""
    return min((place + len(string) for string in stop if (place := text.find(string)) >= 0), default=None)


def _completion(choice: Mapping[str, Any], stop: Sequence[str], tokens: int, logprobs: bool) -> Completion:
    (finish, reason), text = _finish(choice), text_of(choice)
    steps, whole = _steps(choice), len(text)
    end = cut_at_stop(text, stop)
    if end is not None:
        # Left in by a server that was asked to, or written over by one that does not stop. What was written after it
        # is billed, and no part of the continuation.
        text, finish, reason = text[:end], Finish.STOP, ""
    elif finish is Finish.STOP and (ended := _named(choice)) in stop:
        text += str(ended)
    if len(text) < whole:
        steps = _until(steps, len(text))
    total = float(sum(step["logprob"] for step in steps)) if logprobs and steps else None
    return Completion(Piece(text=text), finish, tokens, total, reason)


def _finish(choice: Mapping[str, Any]) -> tuple[Finish, str]:
    """Why a choice ended; of an error, also what the server said of it, in one line."""
    reason = choice.get("finish_reason")
    refused = _mapping(choice.get("message")).get("refusal")
    finish = Finish.ERROR if refused else _FINISHES.get(str(reason), Finish.ERROR)
    if finish is not Finish.ERROR:
        return finish, ""
    _log.warning("the server ended a continuation with %s", "a refusal" if refused else repr(reason))
    said = f"refusal: {refused}" if refused else str(reason or "no reason given")
    # Servers that say more than the protocol asks for: vLLM names a token or an error, proxies what was filtered.
    more = choice.get("stop_reason") or choice.get("content_filter_results")
    line = " ".join(f"{said} ({more})".split() if more else said.split())
    return finish, line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _named(choice: Mapping[str, Any]) -> object:
    """The stop string that ended a choice: vLLM calls it `stop_reason`, SGLang `matched_stop`."""
    return choice.get("stop_reason") or choice.get("matched_stop")


def _steps(choice: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = _mapping(choice.get("logprobs")).get("content")
    steps = content if isinstance(content, list) else []
    sound = all(isinstance(step, dict) and isinstance(step.get("logprob"), int | float) for step in steps)
    return steps if sound else []


def _until(steps: Sequence[Mapping[str, Any]], length: int) -> list[Mapping[str, Any]]:
    """The tokens that make up the first `length` characters; the one that crosses the border belongs to them."""
    kept, written = [], 0
    for step in steps:
        if written >= length:
            break
        kept.append(step)
        written += len(str(step.get("token", "")))
    return kept


def _shares(choices: Sequence[Mapping[str, Any]], generated: int) -> list[int]:
    """Tokens of each choice. Servers bill them together, so several are told apart by their log-probabilities, or else
    by the lengths of their texts; the sum is what was billed."""
    if len(choices) == 1:
        return [generated]
    counted = [len(_steps(choice)) for choice in choices]
    if sum(counted) == generated:
        return counted
    weights = [len(text_of(choice)) + 1 for choice in choices]
    shares = [generated * weight // sum(weights) for weight in weights]
    for index in range(generated - sum(shares)):
        shares[index] += 1
    return shares


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
