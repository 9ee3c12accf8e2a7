"""The paper's judge as the paper has it, for engines without log-probabilities: the model writes its verdict.

All that `stepsight.judges.pairwise` mends stays mended: both orders are asked, disagreement is a tie, and a reply that
cannot be read speaks for nobody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from stepsight.judges.pairwise import Opinion, SelfJudge
from stepsight.protocols import SampleRequest, ScoreRequest
from stepsight.records import Finish
from stepsight.seeds import derive_seed
from stepsight.tasks import together

_NOTHING = -100.0
_THOUGHTS = re.compile(r"^.*</think>", re.DOTALL)


@dataclass(frozen=True)
class WrittenJudge(SelfJudge):
    """Orders candidates as `SelfJudge` does, by verdicts that the model writes instead of log-probabilities.

    It needs nothing from an engine but text. It costs a reply per comparison, and of every comparison it knows only who
    won: the narrow and the clear look alike, so ties are decided by ids more often. The replies are in the evidence.

    Args:
        max_tokens: the longest reply; the prompts ask for one word, a model that reasons first needs room.
        temperature: of the replies. The paper samples its verdicts at 0.6; 0 makes them repeatable.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    name: str = field(default="written", init=False)
    why_unreadable: str = field(default="a reply cannot be read as a verdict", init=False, repr=False)

    def __post_init__(self) -> None:
        """Any engine will do."""

    async def ask(self, requests: Sequence[ScoreRequest]) -> list[Opinion]:
        """Let the model write on each request, all at once; in order."""
        return await together([self._write(request) for request in requests])

    async def _write(self, request: ScoreRequest) -> Opinion:
        text = request.turns[-1].text
        result = await self.engine.sample(
            SampleRequest(
                turns=request.turns,
                seeds=(derive_seed(self.seed, text, "verdict", 0),),
                prefix=request.prefix,
                max_tokens=self.max_tokens,
                temperature=self.temperature,
            )
        )
        reply = result.completions[0]
        said = reply.piece.text
        choice = None if reply.finish is Finish.ERROR else read_verdict(said, request.options)
        logprobs = tuple(0.0 if index == choice else _NOTHING for index in range(len(request.options)))
        return Opinion(logprobs, result.computed + reply.tokens, result.cached, said)


def read_verdict(reply: str, options: Sequence[str]) -> int | None:
    """Which option a reply chooses, by its index; None if that cannot be said for sure.

    Read are, in this order: the paper's phrase "I choose response 1" (all of them, if there are more, must agree); an
    option that the reply begins with and that stands alone there ("2", "2. The first ...", "No, step 3 ..."); and a
    sentence that only names an option ("The better text is 2."). Whatever a model thought aloud before `</think>` does
    not count.
    """
    plain = _THOUGHTS.sub("", reply).replace("*", "").strip()
    names = "|".join(re.escape(option) for option in options)
    phrases = re.findall(rf"\bI choose (?:response|text|number) ({names})\b", plain, re.IGNORECASE)
    if phrases:
        chosen = {phrase.casefold() for phrase in phrases}
    else:
        begins = re.match(rf"[(\"']?({names})[)\"']?(?=$|\n|[.:;,!](?:\s|$))", plain, re.IGNORECASE)
        named = re.fullmatch(
            r"(?:the )?(?:final |better |best )*(?:answer|verdict|text|one|number|response|option)?(?: is)?"
            rf"(?: (?:text|number|response|option))?:? *[(\"']?({names})[)\"']?[.!]?",
            plain,
            re.IGNORECASE,
        )
        found = begins or named
        chosen = {found[1].casefold()} if found else set()
    indices = [index for index, option in enumerate(options) if option.casefold() in chosen]
    return indices[0] if len(indices) == 1 else None
