"""A judge of answers: asks a model where VLMEvalKit asks one, and remembers what it said.

A reply that cannot be read is asked for again, at VLMEvalKit's temperatures. A judge that cannot be reached or refuses,
or says nothing readable, leaves the text unscored; failures are not kept, so the next scoring asks again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stepsight.errors import EngineError, InputError
from stepsight.evaluation.bench.results import GraderCard, Texts
from stepsight.evaluation.bench.verdicts import Verdicts
from stepsight.evaluation.scoring.generations import NEWEST, Generation
from stepsight.evaluation.scoring.readings import Ask, read_reply
from stepsight.prompts.grading import GradingPrompts, grade_turns, option_turns, value_turns, yes_no_turns
from stepsight.protocols import Engine, SampleRequest, Turn
from stepsight.records import Finish
from stepsight.seeds import derive_seed

MAX_TOKENS = 256
"""So long may a reply be; what is wanted is a letter, a word or a number."""
GIVE_UP = 10
"""After so many failures in a row nothing more is asked: a dead server would be waited for a thousand times."""


@dataclass
class Told:
    """How often the judge replied, was remembered, could not be read, and failed, with the first reason."""

    replied: int = 0
    remembered: int = 0
    unreadable: int = 0
    failed: int = 0
    why: str = ""


@dataclass
class Grader:
    """Asks `engine`; see `scoring.readings.Extractor`.

    Attributes:
        told: what came of all asks so far.
    """

    engine: Engine
    prompts: GradingPrompts
    verdicts: Verdicts
    generation: Generation = NEWEST
    max_tokens: int = MAX_TOKENS
    told: Told = field(default_factory=Told)
    _in_a_row: int = 0

    @property
    def card(self) -> GraderCard:
        """What a result says of the judge."""
        texts = Texts(version=self.prompts.version, digest=self.prompts.digest)
        return GraderCard(engine=self.engine.name, prompts=texts, max_tokens=self.max_tokens)

    async def __call__(self, ask: Ask) -> str | None:
        """What the judge's reply says; None if it failed."""
        turns = grading_turns(self.prompts, ask)
        for number, temperature in enumerate(ask.temperatures or (0.0,)):
            reply = await self._reply(turns, number, temperature)
            if reply is None:
                return None
            said = read_reply(ask, reply, generation=self.generation)
            if said is not None:
                return said
        self.told.unreadable += 1
        return None

    async def _reply(self, turns: tuple[Turn, ...], number: int, temperature: float) -> str | None:
        request = {
            "engine": self.engine.name,
            "text": turns[-1].text,
            "try": number,
            "temperature": temperature,
            "max_tokens": self.max_tokens,
        }
        known = self.verdicts.find(request)
        if known is not None:
            self.told.remembered += 1
            return known
        if self._in_a_row >= GIVE_UP:
            self.told.failed += 1
            return None
        try:
            sampled = await self.engine.sample(
                SampleRequest(
                    turns=turns,
                    seeds=(derive_seed(0, turns[-1].text, "grading", number),),
                    max_tokens=self.max_tokens,
                    temperature=temperature,
                    top_p=1.0,
                )
            )
        except (EngineError, InputError) as error:
            self._fail(str(error))
            return None
        completion = sampled.completions[0]
        if completion.finish is Finish.ERROR:
            self._fail(completion.reason or "the judge's reply ended with an error")
            return None
        self._in_a_row = 0
        self.told.replied += 1
        self.verdicts.keep(request, completion.piece.text)
        return completion.piece.text

    def _fail(self, why: str) -> None:
        self.told.failed += 1
        self.told.why = self.told.why or why
        self._in_a_row += 1


def grading_turns(prompts: GradingPrompts, ask: Ask) -> tuple[Turn, ...]:
    """The conversation whose next assistant turn is the verdict on one text."""
    match ask.kind:
        case "option":
            return option_turns(prompts, ask.question, ask.options, ask.prediction)
        case "yes-no":
            return yes_no_turns(prompts, ask.question, ask.prediction)
        case "value":
            return value_turns(prompts, ask.question, ask.prediction)
        case "grade":
            return grade_turns(prompts, ask.question, ask.answer, ask.prediction)
