"""How a scoring endpoint is asked, and how its replies are read: our own small protocol, and vLLM's classification.

Our own (`stepsight.rewards.remote` serves it, and so may anybody):

    GET /info     -> {"protocol": 1, "name": "ixc:owner/model", "scale": "unbounded"}
    POST /score   {"items": [{"question": text, "images": [data URL, ...], "answer": text, "stages": {name: text}}]}
                  -> {"scores": [number or {"error": text}, ...], "tokens": [count, ...]}

Pictures are PNG, upright, RGB. `answer` is the answer so far as it was written, tags and all; `stages` has the texts of
its stages in their order, and is left out where there are none to tell apart. Scores are in the order of the items,
higher is better; an item that cannot be scored has an error in its place. `scale` ("unbounded", "probability",
"log-odds") and `tokens` (computed for each item) may be left out.

vLLM's (docs, "Classification Usages" and "Reward Usage"; chats since 0.13): GET /v1/models, and POST /classify with
`messages`, one conversation per request; the model must have one class. `use_activation` false asks for the reward
itself, not its sigmoid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stepsight.engines.openai.messages import PictureURLs, messages_of
from stepsight.errors import CapabilityError, EngineError, InputError
from stepsight.protocols import ValueRequest, ValueResult
from stepsight.stages import FaultKind, parse

Json = Mapping[str, Any]

PROTOCOL = 1


@dataclass(frozen=True)
class Info:
    """What an endpoint says of itself. `scale` is empty if it does not say."""

    name: str
    scale: str = ""


class Dialect(Protocol):
    """One way to ask. `info` and `score` are paths; at most `batch` answers go into one request (None: any number)."""

    @property
    def info(self) -> str: ...

    @property
    def score(self) -> str: ...

    @property
    def batch(self) -> int | None: ...

    def told(self, reply: Json, url: str, model: str) -> Info: ...

    async def payload(self, requests: Sequence[ValueRequest], pictures: PictureURLs, model: str) -> Json: ...

    def values(self, reply: Json, count: int, url: str) -> list[ValueResult]: ...


class Own:
    """Our own protocol."""

    info = "/info"
    score = "/score"
    batch: int | None = None

    def told(self, reply: Json, url: str, model: str) -> Info:
        """Read `GET /info`."""
        name, scale, protocol = reply.get("name"), reply.get("scale", ""), reply.get("protocol", PROTOCOL)
        if protocol != PROTOCOL:
            raise EngineError(
                f"the scoring endpoint {url} speaks version {protocol} of the protocol, and only {PROTOCOL} is known",
                hint="use the same version of stepsight on both sides",
            )
        if not isinstance(name, str) or not name or not isinstance(scale, str):
            raise _malformed(url, "/info does not say the model's name")
        return Info(model or name, scale)

    async def payload(self, requests: Sequence[ValueRequest], pictures: PictureURLs, model: str) -> Json:
        """The body of `POST /score`.

        Raises:
            CapabilityError: a request has more than a question before its answer.
            PictureError: a picture cannot be read.
        """
        return {"items": [await _item(request, pictures) for request in requests]}

    def values(self, reply: Json, count: int, url: str) -> list[ValueResult]:
        """Read the reply to `count` items."""
        scores, tokens = reply.get("scores"), reply.get("tokens") or [0] * count
        if not isinstance(scores, list):
            raise _malformed(url, "it has no list of scores")
        if len(scores) != count:
            raise _malformed(url, f"it has {len(scores)} scores for {count} answers")
        if not isinstance(tokens, list) or len(tokens) != count or not all(type(one) is int for one in tokens):
            raise _malformed(url, "its tokens are not one number per answer")
        errors = [score["error"] for score in scores if isinstance(score, dict) and score.get("error")]
        if errors:
            raise EngineError(
                f"the scoring endpoint {url} could not score {len(errors)} of {count} answers; the first: {errors[0]}",
                hint="see what it wrote to its standard error",
            )
        pairs = zip(scores, tokens, strict=True)
        return [ValueResult(_number(score, place, url), used) for place, (score, used) in enumerate(pairs)]


class VLLM:
    """The classification API of vLLM."""

    info = "/v1/models"
    score = "/classify"
    batch: int | None = 1

    def told(self, reply: Json, url: str, model: str) -> Info:
        """Read the list of models: the one that is wanted, or the only one."""
        rows = reply.get("data")
        names = [row.get("id") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        if model and model in names:
            return Info(model)
        if model or len(names) != 1 or not isinstance(names[0], str):
            known = ", ".join(str(name) for name in names) or "none"
            raise InputError(
                f"the server {url} does not have one model {model!r}".replace(" ''", ""), hint=f"it has: {known}"
            )
        return Info(names[0])

    async def payload(self, requests: Sequence[ValueRequest], pictures: PictureURLs, model: str) -> Json:
        """The body of `POST /classify`; raises as `Own.payload`."""
        (request,) = requests
        messages = await messages_of(request.turns, request.answer, pictures)
        return {"model": model, "messages": messages, "use_activation": False, "add_generation_prompt": False}

    def values(self, reply: Json, count: int, url: str) -> list[ValueResult]:
        """Read the reply: one row with one number."""
        rows = reply.get("data")
        if not isinstance(rows, list) or len(rows) != count or not isinstance(rows[0], dict):
            raise _malformed(url, f"it has no rows for {count} answers")
        numbers = rows[0].get("probs")
        if not isinstance(numbers, list) or not numbers:
            raise _malformed(url, "it has no `probs`")
        if len(numbers) != 1:
            raise CapabilityError(
                f"the model at {url} tells {len(numbers)} classes apart, and a reward is one number",
                hint="serve a reward model, with one class",
            )
        usage = reply.get("usage")
        used = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return [ValueResult(_number(numbers[0], 0, url), used if type(used) is int else 0)]


DIALECTS: Mapping[str, Dialect] = {"stepsight": Own(), "vllm": VLLM()}


async def _item(request: ValueRequest, pictures: PictureURLs) -> dict[str, Any]:
    if len(request.turns) != 1 or request.turns[0].role != "user":
        raise CapabilityError(
            "a scoring endpoint takes a question and an answer, and here is a longer conversation",
            hint="put everything that is asked into one user turn",
        )
    (turn,) = request.turns
    answer = "".join(piece.text for piece in request.answer)
    item: dict[str, Any] = {"question": turn.text, "images": [await pictures.url(path) for path in turn.images]}
    item["answer"] = answer
    stages = _stages(answer)
    return {**item, "stages": stages} if stages else item


def _stages(answer: str) -> dict[str, str]:
    """The texts of an answer's stages, the last of which may be unfinished; none if its form has any other fault."""
    parsed = parse(answer)
    open_ = [fault.stage for fault in parsed.faults if fault.kind is FaultKind.UNCLOSED and fault.stage is not None]
    if len(open_) == 1:
        parsed = parse(answer + open_[0].close)
    if any(fault.kind is not FaultKind.MISSING for fault in parsed.faults):
        return {}
    return {stage.key: text for stage, text in parsed.stages.items()}


def _number(score: object, place: int, url: str) -> float:
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise _malformed(url, f"score {place} is no number: {str(score)[:60]!r}")
    if not math.isfinite(score):
        raise _malformed(url, f"score {place} is {score}, which cannot be compared")
    return float(score)


def _malformed(url: str, why: str) -> EngineError:
    return EngineError(
        f"the reply of the scoring endpoint {url} cannot be used: {why}",
        hint="docs/rewards.md says what a reply looks like",
    )
