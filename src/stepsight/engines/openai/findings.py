"""What a probe found out about a server, to be kept beside the results that it explains."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from stepsight.protocols import Capabilities
from stepsight.records import Record


class Ability(StrEnum):
    """What is known; `unknown` is treated as `no` and says so."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Finding(Record):
    """One answer and what was seen that led to it."""

    value: Ability
    evidence: str

    @property
    def yes(self) -> bool:
        """Whether it was seen to work."""
        return self.value is Ability.YES


NOT_TRIED = Finding(value=Ability.UNKNOWN, evidence="not tried")


class StopEnds(StrEnum):
    """How we get to know that a stop string ended a continuation.

    INCLUDED: the server leaves it in the text. NAMED: the server cuts it off and says which one it was. OWN: the server
    cuts it off without a word, or ignores it; so none is sent, and we cut.
    """

    INCLUDED = "included"
    NAMED = "named"
    OWN = "own"


class ProbeReport(Record):
    """What a server can do, as seen on `at` (UTC, ISO 8601). Goes to JSON and back.

    prefix: continues an assistant message. images: takes pictures. pictures_told_apart: two pictures under the same
    text give different results. n: several choices for one request, with a picture. stop_honoured: ends at a stop
    string. stop_included: leaves it in the text when asked to. stop_named: says which stop string ended a text.
    logprobs: gives those of the likeliest next tokens. labels: "1" and "2" are among them when asked for. untempered:
    they do not change with the temperature. cache: cached tokens are reported, and rise on a repeat. context: the
    model list tells the limit, in tokens (`context_limit`). seeds: the same seed repeats a text; tried only if allowed,
    for it kills some servers. streams: a reply comes in several events that make up the same text, the last with usage.
    grammar: holds a reply to the four stages when told to in the field `grammar_key`. length_key: what the server calls
    the most tokens of a reply. top_logprobs: so many it lists. requests: what the probe cost.
    """

    url: str
    model: str
    at: str
    prefix: Finding = NOT_TRIED
    images: Finding = NOT_TRIED
    pictures_told_apart: Finding = NOT_TRIED
    n: Finding = NOT_TRIED
    stop_honoured: Finding = NOT_TRIED
    stop_included: Finding = NOT_TRIED
    stop_named: Finding = NOT_TRIED
    logprobs: Finding = NOT_TRIED
    labels: Finding = NOT_TRIED
    untempered: Finding = NOT_TRIED
    cache: Finding = NOT_TRIED
    context: Finding = NOT_TRIED
    seeds: Finding = NOT_TRIED
    streams: Finding = NOT_TRIED
    grammar: Finding = NOT_TRIED
    grammar_key: str = ""
    length_key: str = "max_tokens"
    context_limit: int | None = None
    top_logprobs: int = 0
    requests: int = 0

    def findings(self) -> Iterator[tuple[str, Finding]]:
        """All findings by name, in the order above."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Finding):
                yield name, value

    @property
    def capabilities(self) -> Capabilities:
        """What strategies and judges may count on. Pictures that the server mixes up count as none."""
        return Capabilities(
            prefix=self.prefix.yes,
            logprobs=self.logprobs.yes,
            images=self.images.yes and self.pictures_told_apart.value is not Ability.NO,
            seeds=self.seeds.yes,
            grammar=self.grammar.yes,
        )

    @property
    def stop_ends(self) -> StopEnds:
        """The cheapest way to be certain about stop strings."""
        if self.stop_honoured.yes and self.stop_included.yes:
            return StopEnds.INCLUDED
        return StopEnds.NAMED if self.stop_honoured.yes and self.stop_named.yes else StopEnds.OWN
