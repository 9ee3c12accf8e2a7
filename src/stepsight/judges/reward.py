"""A judge that asks a reward model how good each candidate is, given what was chosen before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from stepsight.errors import CapabilityError, InputError
from stepsight.judges.reading import check_candidates, malformed, stage_so_far, unit_text
from stepsight.prompts.answer import answer_turns
from stepsight.prompts.reward import reward_prompts, reward_turns
from stepsight.protocols import Engine, RewardModel, ScoreRequest, Turn, ValueRequest, ValueResult
from stepsight.records import Candidate, Piece, Question, Verdict
from stepsight.stages import STOP_STRINGS, Stage

Gather = Literal["last", "product"]
Asks = Literal["prefix", "released-1"]
Answer = tuple[Piece, ...]


@dataclass(frozen=True)
class RewardJudge:
    """Orders candidates by what a reward model holds of the answer up to and with them.

    Candidates that say the same are asked about once. Malformed ones rank last, unasked. Ids decide between equals.

    It does not cover: reward models that compare two answers instead of scoring one.

    Args:
        model: the reward model.
        gather: what a score is. "last": the value at the end of the candidate, for reward models that value all that
            stands before with it. "product": for reward models whose value is the log-odds that a stage is right if the
            stages before are; the score is the log-probability that all of them are (the product of their step
            scores, as process reward models are mostly read: Lightman et al., arXiv 2305.20050).
        asks: what the reward model sees. "prefix": the question, and all of the answer up to the candidate.
            "released-1": as in LLaVA-CoT's released code, one stage by itself against a request for that stage, and
            whole answers against the question; see `prompts.reward`. Of a sentence it is the stage so far.
        cutoff: the score above which `swires` calls a reasoning good enough. It belongs to one reward model asked in
            one way.

    Raises:
        InputError: scores of stages shown by themselves cannot be gathered as a product, or `asks` is unknown.
    """

    model: RewardModel
    gather: Gather = "last"
    asks: Asks = "prefix"
    cutoff: float | None = field(default=None, repr=False)
    name: str = field(default="reward", init=False)
    scores: bool = field(default=True, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.asks == "prefix":
            return
        reward_prompts(self.asks)
        if self.gather == "product":
            raise InputError(
                f"asked as in {self.asks!r}, a stage is scored without those before it, and scores of stages that do "
                "not build on each other make no product",
                hint='gather "last", or ask with the whole prefix',
            )

    @property
    def probabilities(self) -> bool:
        """Whether a score is the log-probability that all stages so far are right."""
        return self.gather == "product"

    async def judge(
        self, question: Question, stage: Stage | None, chosen: Sequence[Candidate], candidates: Sequence[Candidate]
    ) -> Verdict:
        """Order `candidates`, best first. Scores of malformed ones are minus infinity.

        Raises:
            InputError: there is no candidate, or two share an id.
            EngineError: the reward model failed.
        """
        check_candidates(candidates)
        faults = {candidate.id: fault for candidate in candidates if (fault := malformed(candidate)) is not None}
        steps = {
            candidate.id: self._steps(stage, chosen, candidate)
            for candidate in candidates
            if candidate.id not in faults
        }
        asked: dict[str, Answer] = {}
        for answers in steps.values():
            for answer in answers:
                asked.setdefault(_text(answer), answer)
        results = await self._ask(self._turns(question, stage), list(asked.values()))
        values = {text: result.value for text, result in zip(asked, results, strict=True)}
        scores = dict.fromkeys(faults, -math.inf)
        for one, answers in steps.items():
            scores[one] = self._score([values[_text(answer)] for answer in answers])
        order = sorted(scores, key=lambda one: (-scores[one], one))
        sound = [scores[one] for one in order if one not in faults]
        return Verdict(
            judge=self.name,
            stage=stage,
            order=tuple(order),
            scores=tuple(scores[one] for one in order),
            evidence={
                "reward_model": self.model.name,
                **({} if self.asks == "prefix" else {"asks": self.asks}),
                "values": {
                    str(one): [round(values[_text(answer)], 4) for answer in answers] for one, answers in steps.items()
                },
                "malformed": {str(one): faults[one] for one in sorted(faults)},
            },
            ties=len(sound) - len(set(sound)),
            calls=len(results),
            tokens=sum(result.computed for result in results),
            cached=sum(result.cached for result in results),
        )

    async def _ask(self, turns: tuple[Turn, ...], answers: Sequence[Answer]) -> list[ValueResult]:
        if not answers:
            return []
        return await self.model.value([ValueRequest(turns, answer) for answer in answers])

    def _turns(self, question: Question, stage: Stage | None) -> tuple[Turn, ...]:
        if self.asks == "prefix":
            return answer_turns(question)
        return reward_turns(reward_prompts(self.asks), question, stage)

    def _steps(self, stage: Stage | None, chosen: Sequence[Candidate], candidate: Candidate) -> list[Answer]:
        """The beginnings of the answer that are valued for a candidate, or its stage alone; the last is all of it."""
        if self.asks != "prefix" and stage in reward_prompts(self.asks).requests:
            alone = stage_so_far(chosen, candidate) if candidate.sentence else unit_text(candidate)
            return [(Piece(text=alone),)]
        line, piece = tuple(one.piece for one in chosen), candidate.piece
        whole = (*line, piece)
        if self.gather == "last":
            return [whole]
        ends = [whole[: count + 1] for count, one in enumerate(line) if _closes(one.text)]
        # A whole answer is one piece with several stages in it.
        inner = [(*line, Piece(text=beginning)) for beginning in _beginnings(piece.text)]
        return [*ends, *inner, whole]

    def _score(self, values: Sequence[float]) -> float:
        if self.gather == "last":
            return values[-1]
        return sum(_log_sigmoid(value) for value in values)


@dataclass(frozen=True)
class WordsReward:
    """A reward model that says its values in words: a language model trained to go on with `right` or `wrong`.

    The value is the log-odds between the two as the next text of the assistant's turn, so any engine that gives
    log-probabilities runs it, and answers that begin alike share their key-values there. VisualPRM (arXiv 2503.10291)
    reads its step scores so, with + and -.

    Raises:
        CapabilityError: the engine gives no log-probabilities, or cannot continue the assistant's turn.
    """

    engine: Engine
    right: str = " yes"
    wrong: str = " no"

    def __post_init__(self) -> None:
        can = self.engine.capabilities
        if not (can.logprobs and can.prefix):
            raise CapabilityError(
                "a reward model that answers in words needs log-probabilities behind an answer, and "
                f"{self.engine.name} gives none",
                hint="run it in this process, or name a scoring endpoint",
            )

    @property
    def name(self) -> str:
        """The engine's."""
        return self.engine.name

    async def value(self, requests: Sequence[ValueRequest]) -> list[ValueResult]:
        """Log-odds in nats; see `protocols.RewardModel`."""
        results = await self.engine.score(
            [ScoreRequest(request.turns, (self.right, self.wrong), request.answer) for request in requests]
        )
        return [ValueResult(one.logprobs[0] - one.logprobs[1], one.computed, one.cached) for one in results]


def _text(answer: Answer) -> str:
    return "".join(piece.text for piece in answer)


def _closes(text: str) -> bool:
    return text.rstrip().endswith(STOP_STRINGS)


def _beginnings(text: str) -> list[str]:
    """What stands up to the end of each stage in a text but the last."""
    ends = sorted(place + len(stop) for stop in STOP_STRINGS if (place := text.find(stop)) >= 0)
    return [text[:end] for end in ends[:-1]]


def _log_sigmoid(value: float) -> float:
    return -math.log1p(math.exp(-value)) if value > 0 else value - math.log1p(math.exp(value))
