"""What a client is told when its request cannot be served: OpenAI's error envelope, and never a path, prompt or key.

400 invalid_request_error    what the client sent cannot be used; `param` says which part of it
401 invalid_api_key          404 model_not_found, not_found     405, 411, 413, 415, 421
429 too_many_requests        all places are taken; Retry-After says when to try again
500, 502, 503, 504           the model, or the server behind it, failed, is away, or took too long
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from stepsight.errors import CapabilityError, EngineError, InputError, PictureError, StepsightError, TooLongError

_MOST_SHOWN = 400
_TAGS = ("text", "image_url", "image_file")


@dataclass
class Refused(Exception):
    """A request that is not served, as its client is told."""

    status: int
    message: str
    code: str = ""
    param: str | None = None
    retry_after: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The envelope."""
        kind = "invalid_request_error" if self.status < 500 and self.status != 429 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        return {
            "error": {
                "message": self.message[:_MOST_SHOWN],
                "type": kind,
                "param": self.param,
                "code": self.code or None,
            }
        }

    @property
    def all_headers(self) -> dict[str, str]:
        """Headers that go with it."""
        wait = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**self.headers, **wait}


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> Refused:
    """A request that makes no sense."""
    return Refused(400, message, code, param)


def busy(retry_after: int) -> Refused:
    """All places are taken, those in the queue too."""
    return Refused(429, "too many searches are under way", "too_many_requests", retry_after=retry_after)


def malformed(error: ValidationError) -> Refused:
    """A body that is no JSON, or not of the right form; says where, and never what stood there."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    # Of a part that may have several forms each form has faults; the one that got furthest is the one that was meant.
    fault = max(faults, key=lambda one: len(one["loc"]))
    if fault["type"] == "json_invalid":
        return Refused(400, "the body is not valid JSON", "invalid_json")
    parts = [str(part) for part in fault["loc"] if isinstance(part, int) or str(part).isidentifier()]
    # A union adds the name of the form that was tried: a class, a type, or the value that tells parts apart.
    where = ".".join(
        part
        for place, part in enumerate(parts)
        if not (part[0].isupper() or part == "str" or (part in _TAGS and parts[place - 1].isdigit()))
    )
    said = {"union_tag_invalid": "a part of this type is not taken here"}.get(fault["type"], fault["msg"])
    return Refused(400, f"{where or 'body'}: {said}", fault["type"], where or None)


def refusal_of(error: BaseException, private: Mapping[str, str]) -> Refused:
    """What a client is told of an error.

    Args:
        error: what was raised.
        private: texts that no client may read (a picture's path, the engine's name), and what is said instead.
    """
    if isinstance(error, TooLongError):
        why = "the conversation, or the conversation and its answer, are longer than the model holds"
        return Refused(400, why, "context_length_exceeded", "messages")
    if isinstance(error, PictureError):
        return invalid(_said(error, private), "messages", "invalid_image")
    if isinstance(error, InputError | CapabilityError):
        code = "unsupported" if isinstance(error, CapabilityError) else "invalid_value"
        return invalid(_said(error, private), None, code)
    if isinstance(error, TimeoutError):
        return Refused(504, "the search took longer than this server allows", "timeout")
    if isinstance(error, EngineError) and error.retryable:
        return Refused(503, "the model is busy or away at the moment", "model_unavailable", retry_after=2)
    if isinstance(error, StepsightError):
        return Refused(502, "the model failed", "model_failed")
    return Refused(500, "something went wrong in this server", "internal_error")


def _said(error: StepsightError, private: Mapping[str, str]) -> str:
    said = " ".join(str(error).split())
    for secret, instead in sorted(private.items(), key=lambda pair: -len(pair[0])):
        if secret:
            said = said.replace(secret, instead)
    return said
