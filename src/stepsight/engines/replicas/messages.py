"""What travels between the engine and the processes that it runs; lists of these, pickled, over a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepsight.protocols import Capabilities, SampleRequest, SampleResult, ScoreRequest, ScoreResult


@dataclass(frozen=True)
class Load:
    """Load a model and call it `model`; `beside` is one there whose thread it shares. `number`: of the `replicas`."""

    id: int
    model: str
    options: Mapping[str, Any]
    beside: str = ""
    number: int = 0
    replicas: int = 1


@dataclass(frozen=True)
class Ask:
    """Ask a model: one request to sample, or several to score. `telling`: text is wanted while it is written."""

    id: int
    model: str
    request: SampleRequest | Sequence[ScoreRequest]
    telling: bool = False


@dataclass(frozen=True)
class Drop:
    """Nobody waits for the answer to a request any more."""

    id: int


@dataclass(frozen=True)
class Loaded:
    """A model is there."""

    name: str
    capabilities: Capabilities


@dataclass(frozen=True)
class Told:
    """New text of a continuation that is being written."""

    id: int
    slot: int
    text: str


@dataclass(frozen=True)
class Answer:
    """What came of a request."""

    id: int
    result: Loaded | SampleResult | Sequence[ScoreResult] | Exception
