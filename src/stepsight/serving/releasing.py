"""Which text of a running search is final, so that it can be sent: nothing that is sent is ever taken back.

greedy, and one candidate at a time    every token, as it is written
stage-beam, sentence-beam              what the judge chose, as soon as it is chosen
swires, adaptive                       the SUMMARY, which is never gone back to; the rest when the search is over
best-of-n, vote, several survivors     everything when the search is over
"""

from __future__ import annotations

from typing import Literal

from stepsight.assembly import SearchChoice
from stepsight.errors import EngineError
from stepsight.protocols import Event
from stepsight.records import Trace
from stepsight.stages import STAGES

Pace = Literal["tokens", "choices", "summary", "end"]


def pace(plan: SearchChoice) -> Pace:
    """When the text of a search becomes final."""
    if plan.single and plan.search != "sentence-beam":
        # A sentence may be looked beyond, and what was seen there is written anew.
        return "tokens"
    if plan.search in ("swires", "adaptive"):
        return "summary"
    beam = plan.search in ("stage-beam", "sentence-beam")
    return "choices" if beam and plan.settings.survivors == 1 else "end"


class Release:
    """Hands out the text of one search as it becomes final."""

    def __init__(self, plan: SearchChoice) -> None:
        self.pace = pace(plan)
        self.told = ""
        self._settled = ""
        self._pending = ""

    def take(self, event: Event) -> str:
        """The text that has become final by this event.

        Raises:
            EngineError: what was told is no beginning of what was chosen. That cannot come from a search; a server that
                broke off and wrote something else when it was asked again can do it.
        """
        if event.kind == "text" and self.pace == "tokens":
            self._pending += event.text
            return self._tell(self._settled + self._pending)
        if event.kind != "stage_chosen" or self.pace == "end":
            return ""
        if self.pace == "summary" and (self.told or event.stage is not STAGES[0]):
            return ""
        self._settled, self._pending = event.answer, ""
        return self._tell(event.answer)

    def finish(self, trace: Trace) -> str:
        """The rest.

        Raises:
            EngineError: as `take`.
        """
        return self._tell(trace.text)

    def _tell(self, answer: str) -> str:
        if not answer.startswith(self.told):
            raise EngineError(
                "the model began anew and wrote something else than what was sent already", hint="ask again"
            )
        new, self.told = answer[len(self.told) :], answer
        return new
