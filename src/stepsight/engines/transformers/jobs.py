"""What travels between the tasks that ask and the thread that works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stepsight.engines.waiting import Reply
from stepsight.protocols import Completion, OnText, SampleRequest, SampleResult, ScoreRequest, ScoreResult


@dataclass(eq=False)
class SampleJob:
    """One sample request and what has come of it."""

    request: SampleRequest
    on_text: OnText | None
    reply: Reply[SampleResult]
    done: dict[int, Completion] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether working on it is of no use any more."""
        return self.reply.dropped or self.reply.settled


@dataclass(eq=False)
class ScoreJob:
    """Score requests that arrived together; `options` are their options in tokens, once encoded."""

    requests: Sequence[ScoreRequest]
    reply: Reply[list[ScoreResult]]
    options: list[list[tuple[int, ...]]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether working on it is of no use any more."""
        return self.reply.dropped or self.reply.settled


Job = SampleJob | ScoreJob
