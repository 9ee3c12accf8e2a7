"""What a server's refusal means, and whether asking again may help.

    401, 403                          the key is missing, wrong, or not enough    never asked again
    404, 405                          no such model, or no such path              never
    400, 413, 422 about the context   prompt and answer do not fit                never
    429 for want of money             the account is empty                        never
    408, 429, 5xx                     busy or broken for the moment               asked again
    a cut or refused connection, a time-out, half a reply                         asked again
    any other                         the request is not understood               never

Nobody agrees on how to say that a context is too small: `_OVERFLOW` knows the words of OpenAI, vLLM, SGLang, llama.cpp
and of common proxies.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus

from stepsight.engines.openai.address import KEY_VARIABLES, Key
from stepsight.errors import EngineError, ModelError, StepsightError, TooLongError

_OVERFLOW = re.compile(
    r"context[_ ](length|size|window|limit)|maximum (model|prompt) length|maximum allowed (input )?length"
    r"|exceed_context|(prompt|input) is too long|too many tokens|reduce the length of the messages",
    re.IGNORECASE,
)
_NO_MONEY = re.compile(r"insufficient_quota|billing|credit balance", re.IGNORECASE)
_SHOWN = 300


def said(body: str, key: Key) -> str:
    """The server's own words in one line: the message of its JSON error, else its text; never the key."""
    words = body
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if isinstance(told, dict):
        fault = told.get("error", told)
        found = fault.get("message") if isinstance(fault, dict) else fault
        words = str(found or told.get("detail") or told.get("message") or body)
    line = " ".join(key.hidden_in(words).split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def refusal(status: int, body: str, *, model: str, url: str, key: Key) -> StepsightError:
    """The error that a status other than 200 stands for; its `retryable` says whether asking again may help."""
    words = said(body, key)
    if status == HTTPStatus.FORBIDDEN:
        return EngineError(
            f"the server {url} does not allow the request ({status}): {words}",
            hint=f"see what the key in {key.source or KEY_VARIABLES[0]} may do",
        )
    if status == HTTPStatus.UNAUTHORIZED:
        # Not the server's words: some repeat the key, whole or in part.
        have = f"the key in {key.source} is not accepted" if key.source else "it wants a key and none is set"
        return EngineError(
            f"the server {url} refused the request ({status}): {have}", hint=f"set {KEY_VARIABLES[0]} to a valid key"
        )
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        return ModelError(
            f"the server {url} does not have the model {model!r}, or not this path: {words}",
            hint="--model takes one of the ids under <server>/models; the address usually ends in /v1",
        )
    if 300 <= status < 400:
        return EngineError(f"the server {url} sends us elsewhere ({status})", hint="give the address it really has")
    if status in (400, 413, 422) and _OVERFLOW.search(f"{words} {body[:2000]}"):
        return TooLongError(
            f"prompt and answer do not fit into the model's context: {words}",
            hint="lower --max-tokens, use a smaller picture, or start the server with a longer context",
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS and _NO_MONEY.search(body):
        return EngineError(f"the server {url} refuses to work on credit: {words}", hint="look at the account's quota")
    if status in (408, 429) or (status >= 500 and status != HTTPStatus.NOT_IMPLEMENTED):
        return EngineError(f"the server {url} is busy or broken ({status}): {words}", hint=_LATER, retryable=True)
    return EngineError(
        f"the server {url} does not take the request ({status}): {words}",
        hint="`stepsight doctor --server` shows what it can do",
    )


def unreachable(url: str, what: str) -> EngineError:
    """Nobody answered, or the connection was cut."""
    return EngineError(f"the server {url} cannot be reached or went away: {what}", hint=_LATER, retryable=True)


def timed_out(url: str, what: str) -> EngineError:
    """The server took too long."""
    return EngineError(
        f"the server {url} took too long ({what})", hint="try again with less --concurrency", retryable=True
    )


def unreadable(url: str, why: str) -> EngineError:
    """A reply that is not what the protocol promises; mostly one that a proxy or a crash cut short."""
    return EngineError(f"the reply of the server {url} cannot be read: {why}", hint=_LATER, retryable=True)


_LATER = "check that it is running, and try again"
