"""The architecture on one screen: an engine samples and scores, a judge orders, a strategy searches.

A strategy gets an engine and a judge as arguments and imports neither. An engine may be awaited by many tasks at
once; it batches what arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

from stepsight.records import Candidate, Finish, Piece, Question, Trace, Verdict
from stepsight.stages import Stage


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation; pictures stand before the text."""

    role: Literal["system", "user", "assistant"]
    text: str
    images: tuple[Path, ...] = ()


class Meter(Protocol):
    """Keeps account of a request that an engine may have to send several times until it is answered."""

    async def failed(self, why: str, *, billed: bool) -> None:
        """A sending came to nothing; `billed`: the server may have put it on the bill all the same."""
        ...

    async def again(self) -> bool:
        """Whether the request may be sent once more; if not, the engine raises what the last sending ended in."""
        ...


@dataclass(frozen=True)
class SampleRequest:
    """Continue the assistant's turn, once per seed.

    `prefix` is the assistant text so far. A continuation ends after the first of `stop`, which stays part of it, or at
    the model's end of turn, or after `max_tokens`. Temperature 0 is greedy; then seeds do not matter. `staged` holds
    the whole turn to the form of the four stages, by a grammar of the server (`Capabilities.grammar`). `meter` is told
    of every sending that came to nothing, by engines that ask a server; others have nothing to tell it.
    """

    turns: tuple[Turn, ...]
    seeds: tuple[int, ...]
    prefix: tuple[Piece, ...] = ()
    stop: tuple[str, ...] = ()
    max_tokens: int = 1024
    temperature: float = 0.6
    top_p: float = 0.9
    staged: bool = False
    meter: Meter | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Completion:
    """One continuation. `logprob` sums the model's own log-probabilities (nats, temperature 1) of its tokens.

    `reason` says, in the words of a server, why it ended with an error.
    """

    piece: Piece
    finish: Finish
    tokens: int
    logprob: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class SampleResult:
    """Completions in the order of the request's seeds; prompt tokens computed, and reused from the cache.

    Both may count the prompt several times, as often as the engine had to read it; `prompt` is how long it is, prefix
    included, 0 where the engine does not say.
    """

    completions: tuple[Completion, ...]
    computed: int = 0
    cached: int = 0
    prompt: int = 0


@dataclass(frozen=True)
class ScoreRequest:
    """Ask for the log-probability of each of `options` as the next text of the assistant's turn."""

    turns: tuple[Turn, ...]
    options: tuple[str, ...]
    prefix: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class ScoreResult:
    """Log-probabilities in nats, in the order of the options; tokens computed and reused from the cache."""

    logprobs: tuple[float, ...]
    computed: int = 0
    cached: int = 0


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do; a strategy or judge that needs more is refused by name."""

    prefix: bool
    logprobs: bool
    images: bool
    seeds: bool
    grammar: bool = False


OnText = Callable[[int, str], None]
"""Called with (slot, new text) while a continuation is being written; from any thread."""


class Engine(Protocol):
    """Samples continuations and scores texts."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult: ...

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Score many requests in one batch; results are in the order of the requests."""
        ...


@dataclass(frozen=True)
class ValueRequest:
    """Ask how good the assistant's turn is so far: `answer`, which ends with a stage or with the turn."""

    turns: tuple[Turn, ...]
    answer: tuple[Piece, ...]


@dataclass(frozen=True)
class ValueResult:
    """How good; higher is better, on a scale that belongs to the reward model. Tokens computed, and reused."""

    value: float
    computed: int = 0
    cached: int = 0


class RewardModel(Protocol):
    """Says how good answers are: whole ones, or their first stages."""

    @property
    def name(self) -> str: ...

    async def value(self, requests: Sequence[ValueRequest]) -> list[ValueResult]:
        """Value many answers in one batch; results are in the order of the requests."""
        ...


class Judge(Protocol):
    """Orders candidates of one question at one stage (None: whole answers), given the stages chosen before.

    `scores` says whether its verdicts carry scores that can be held against those of other candidates of the question,
    `probabilities` whether these are log-probabilities that a candidate and all before it are right; `cutoff` above
    which of them `swires` calls a reasoning good enough, if that was ever found out.
    """

    @property
    def name(self) -> str: ...

    @property
    def scores(self) -> bool: ...

    @property
    def probabilities(self) -> bool: ...

    @property
    def cutoff(self) -> float | None: ...

    async def judge(
        self, question: Question, stage: Stage | None, chosen: Sequence[Candidate], candidates: Sequence[Candidate]
    ) -> Verdict: ...


@dataclass(frozen=True)
class Event:
    """Something a search did, for those who watch it live.

    With `stage_chosen` comes the `answer` as far as it is chosen; a retrace may have replaced what was chosen before.
    """

    kind: Literal["stage_started", "text", "candidate", "verdict", "stage_chosen", "retrace"]
    stage: Stage | None
    slot: int = 0
    text: str = ""
    candidate: Candidate | None = None
    verdict: Verdict | None = None
    answer: str = ""


Watch = Callable[[Event], None]


@dataclass(frozen=True)
class Budget:
    """What a search may use: generated tokens (kept and discarded), seconds, candidates. None: no limit."""

    tokens: int | None = None
    seconds: float | None = None
    candidates: int | None = None

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return (self.tokens, self.seconds, self.candidates) != (None, None, None)


@dataclass(frozen=True)
class Swires:
    """Constants of stage-wise retracing (LLaVA-CoT, arXiv 2411.10440v6, section 3.2.2 and Algorithm 1).

    A round draws `captions`, keeps the best `kept` and gives each `captions / kept` reasonings. It is the last if at
    least `passing` reasonings of all rounds together are scored above `cutoff`, or after `retraces` retraces. The best
    `concluded` reasonings get a conclusion each. A `cutoff` belongs to one reward model; None: the judge's own.
    """

    captions: int = 4
    kept: int = 2
    retraces: int = 2
    passing: int = 2
    concluded: int = 2
    cutoff: float | None = None


SWIRES: Mapping[str, Swires] = MappingProxyType({"paper": Swires(), "released": Swires(retraces=4, concluded=3)})
"""The paper's constants (at most 3 rounds), and those of its released code where they differ (at most 5)."""


@dataclass(frozen=True)
class Adaptive:
    """Constants of the adaptive search (ours).

    A round draws `captions` and, for each that is new, `reasonings`; or more reasonings for one caption, if that stage
    is more likely at fault. A caption counts by what the judge holds of it (`weigh="auto"`, with a judge that gives
    probabilities), by how likely the model holds it (`"likelihood"`, and `"auto"` without such a judge), or by how
    often it was written (`"count"`).
    With a judge, captions get a reasoning if they hold a share of `least` of all that is probable, and the search ends
    when a conclusion is right with a probability of `sure`; a reasoning is held right as the model holds it likely
    (`judged="captions"`), or as the judge does (`"both"`). Without a judge, it ends when conclusions with a weight of
    `agreement` of all say the same. It ends after `rounds` in any case.
    """

    captions: int = 4
    reasonings: int = 1
    rounds: int = 3
    least: float = 0.1
    sure: float = 0.5
    agreement: float = 0.8
    weigh: Literal["auto", "count", "likelihood"] = "auto"
    judged: Literal["captions", "both"] = "captions"


@dataclass(frozen=True)
class SearchSettings:
    """What every strategy needs to know. Seeds of candidates derive from (seed, question id, stage, slot).

    `width` candidates are drawn at a time; each may have `max_tokens`, and a whole answer `answer_tokens`. With
    `greedy_first` slot 0 is decoded at temperature 0 and only the others are sampled (ours; the paper samples all).
    `survivors` is how many candidates of a stage a beam goes on with. `watch` may be called from any thread.
    """

    width: int = 4
    temperature: float = 0.6
    top_p: float = 0.9
    max_tokens: int = 1024
    seed: int = 0
    greedy_first: bool = False
    watch: Watch | None = field(default=None, compare=False)
    survivors: int = 1
    budget: Budget = Budget()
    swires: Swires = Swires()
    adaptive: Adaptive = Adaptive()
    answer_tokens: int | None = None


class Strategy(Protocol):
    """A search: question in, trace out."""

    async def __call__(
        self, question: Question, engine: Engine, judge: Judge | None, settings: SearchSettings
    ) -> Trace: ...
