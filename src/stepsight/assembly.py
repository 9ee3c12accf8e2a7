"""Where names become objects: a model's name an engine, a judge's name a judge, a strategy's name a strategy.

check_names   every name and number, before anything is loaded
check_choice  which model, as far as it can be checked without loading it
load_model    a folder, a hub id or a server -> engine and card, kept for the next caller
build_judge   needs the engine, for some judges ask it
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepsight.engines.placement import MAX_ROWS, Placement, check_bounds, check_compile, check_replicas, check_sharing
from stepsight.errors import CapabilityError, InputError
from stepsight.judges import JUDGES
from stepsight.judges.likelihood import LikelihoodJudge
from stepsight.judges.pairwise import SelfJudge
from stepsight.judges.reward import RewardJudge
from stepsight.judges.vote import VoteJudge
from stepsight.judges.written import WrittenJudge
from stepsight.model_folders import PICO, ModelCard, read_card, resolve_model
from stepsight.prompts.judge import judge_prompts
from stepsight.protocols import Engine, Judge, SearchSettings
from stepsight.reward_models import reward_judge
from stepsight.search import is_judged, strategy
from stepsight.search.checks import check_settings

if TYPE_CHECKING:
    from stepsight.engines.openai import ProbeReport

KEPT_MODELS = 2
"""So many loaded models stay in memory; the one unused for longest goes first."""


@dataclass(frozen=True)
class ModelChoice:
    """Which model to load, and how. `name` is `pico`, a folder, or a hub id such as `owner/model`.

    device, device_map, dtype, attention, quantize: see `Placement`. revision, trust_remote_code: of a hub model.
    cache_gb: bound of the caches in GiB. max_rows: most rows in a batch. threads: of torch inside an operation; None
    leaves torch's setting. rows_gb: bound of the key-values of rows in work, beyond which rows wait; None is half of
    what is free. shared_prefix: whether rows attend to one copy of what they have in common. draft_tokens: over how
    many tokens a step may run with guesses at what follows. replicas: copies of the model, several each in a process of
    its own. compile: `torch.compile`, which is refused with the reason.

    With `server`, the base URL of one that speaks OpenAI's chat protocol, `name` is the server's id of a model; `pico`
    then means the only one it has, unless it offers that very id. `server_seeds` allows it to be asked for seeds, which
    a few servers do not survive. `judge_prompts` overrides the version of judging texts on the model's card: a model
    behind a server has no card. `reward` names the reward model for the judge `reward`: a folder, or what
    `rewards.connect` takes; empty: the one on the model's card. `reward_python` is the interpreter for one that needs a
    process of its own.

    Raises:
        InputError: an option makes no sense.
    """

    name: str = PICO
    device: str = "auto"
    dtype: str = "auto"
    revision: str | None = None
    trust_remote_code: bool = False
    device_map: str | None = None
    attention: str = "auto"
    quantize: str = "none"
    cache_gb: float = 1.0
    max_rows: int = MAX_ROWS
    threads: int | None = None
    rows_gb: float | None = None
    shared_prefix: str = "auto"
    draft_tokens: int | None = None
    replicas: int = 1
    server: str = ""
    server_seeds: bool = False
    judge_prompts: str = ""
    reward: str = ""
    reward_python: str = ""
    compile: bool = False

    def __post_init__(self) -> None:
        check_compile(self.compile)
        check_bounds(self.cache_gb, self.max_rows, self.threads, self.rows_gb, self.draft_tokens)
        check_sharing(self.shared_prefix)
        check_replicas(self.replicas, self.device_map)
        _ = self.placement

    @property
    def placement(self) -> Placement:
        """Where it goes and in what form."""
        return Placement(self.device, self.device_map, self.dtype, self.attention, self.quantize)


@dataclass(frozen=True)
class SearchChoice:
    """Which search, and how; names and numbers are checked.

    Raises:
        InputError: an unknown name, or a number out of range.
        CapabilityError: the judge cannot serve the strategy.
    """

    search: str = "stage-beam"
    judge: str = "self"
    settings: SearchSettings = field(default_factory=SearchSettings)

    def __post_init__(self) -> None:
        check_names(self.search, self.judge, self.settings)

    @property
    def single(self) -> bool:
        """Whether one answer is written and nothing chosen."""
        judged = is_judged(self.search, self.settings.width, self.judge)
        return not judged and (self.search == "greedy" or (self.settings.width == 1 and self.search != "adaptive"))


@dataclass(frozen=True)
class LoadedModel:
    """An engine with its card; `seconds` is what loading took. Of a server, `probe` says what it was seen to do.

    `choice` is what it was loaded for, and `rewards` keeps the reward models loaded beside it, by name.
    """

    engine: Engine
    card: ModelCard
    seconds: float = 0.0
    probe: ProbeReport | None = None
    choice: ModelChoice | None = None
    rewards: dict[str, RewardJudge] = field(default_factory=dict, compare=False, repr=False)

    async def aclose(self) -> None:
        """Let go of what the engine holds in the running event loop: a server's connections."""
        close = getattr(self.engine, "aclose", None)
        if close is not None:
            await close()


def check_names(search: str, judge: str, settings: SearchSettings) -> None:
    """Check everything that can be checked without a model.

    Raises:
        InputError: an unknown name (the hint has the nearest), or a number out of range.
        CapabilityError: the judge cannot serve the strategy.
    """
    strategy(search)
    if judge not in JUDGES:
        near = get_close_matches(judge.lower(), JUDGES, n=1)
        known = ", ".join(JUDGES)
        hint = f"did you mean {near[0]}? known: {known}" if near else f"known: {known}"
        raise InputError(f"there is no judge {judge!r}", hint=hint)
    check_settings(settings)
    if judge == "vote" and search != "best-of-n" and is_judged(search, settings.width, judge):
        raise CapabilityError(
            f"the judge 'vote' counts equal conclusions and cannot choose stages for {search}",
            hint="use it with --search best-of-n, or take the judge 'self' or 'likelihood'",
        )


def build_judge(name: str, model: LoadedModel, *, search: str, width: int) -> Judge | None:
    """The judge called `name`, checked by `check_names`; None where a search has nothing to choose from.

    Raises:
        CapabilityError: the model's engine cannot serve the judge.
        InputError: the card names judge prompts that do not exist.
    """
    if not is_judged(search, width, name):
        return None
    if name == "likelihood":
        tempered = model.probe is not None and not model.probe.untempered.yes
        if tempered or not model.engine.capabilities.logprobs:
            raise CapabilityError(
                f"the judge 'likelihood' needs the model's own log-probabilities, and {model.engine.name} gives none",
                hint="use the judge 'written', or 'vote' with best-of-n",
            )
        return LikelihoodJudge(cutoff=model.card.cutoffs.get(name))
    if name == "vote":
        return VoteJudge()
    if name == "reward":
        return reward_judge(model)
    prompts = judge_prompts(model.card.judge_prompts)
    return WrittenJudge(model.engine, prompts) if name == "written" else SelfJudge(model.engine, prompts)


def with_judge_prompts(model: LoadedModel, version: str) -> LoadedModel:
    """The model with other judging texts than its card names; the same model if `version` is empty.

    Raises:
        InputError: there are no such texts.
    """
    if not version:
        return model
    return replace(model, card=model.card.model_copy(update={"judge_prompts": judge_prompts(version).version}))


def unrepeatable(model: LoadedModel, *, search: str, temperature: float) -> str:
    """A warning if the same seed will not give the same answer; empty if it will."""
    if model.engine.capabilities.seeds or search == "greedy" or temperature == 0:
        return ""
    return f"{model.engine.name} draws its own random numbers: the same --seed can give another answer"


def check_choice(choice: ModelChoice) -> None:
    """Check which model is wanted as far as that is possible without loading it or asking a server.

    Raises:
        InputError: there are no such judge prompts, the server's address is none, or an option fits no server.
        ModelError: as `resolve_model`.
    """
    if choice.judge_prompts:
        judge_prompts(choice.judge_prompts)
    if not choice.server:
        if choice.server_seeds:
            raise InputError("seeds can be allowed to a server only, and none is named", hint="name one with --server")
        resolve_model(choice.name)
        return
    from stepsight.engines.openai.address import checked_url

    checked_url(choice.server)
    plain = ModelChoice()
    for option in ("device", "dtype", "revision", "trust_remote_code", "replicas"):
        if getattr(choice, option) != getattr(plain, option):
            flag = option.replace("_", "-")
            raise InputError(f"--{flag} is for models that run here, not on a server", hint=f"leave --{flag} away")


_shelf: OrderedDict[ModelChoice, LoadedModel] = OrderedDict()
_shelf_lock = threading.Lock()


def loaded(choice: ModelChoice) -> LoadedModel | None:
    """The model if an earlier `load_model` left it in memory."""
    return _shelf.get(choice)


def load_model(choice: ModelChoice) -> LoadedModel:
    """Load a model, or take it from the few that stay in memory for this process.

    Raises:
        ModelError: it cannot be used; the message says why.
        EngineError: the server does not answer, or does not accept the key.
        MissingExtraError: the packages that run local models are not installed.
    """
    with _shelf_lock:
        model = _shelf.pop(choice, None) or _load(choice)
        _shelf[choice] = model
        while len(_shelf) > KEPT_MODELS:
            _shelf.popitem(last=False)
        return model


def _load(choice: ModelChoice) -> LoadedModel:
    check_choice(choice)
    started = time.perf_counter()
    if choice.server:
        from stepsight.engines.openai import connected

        served = connected(choice.server, choice.name, default=PICO, seeds=choice.server_seeds)
        card = ModelCard(name=served.server.model)
        seconds = time.perf_counter() - started
        made = LoadedModel(served, card, seconds, served.report, choice)
        return with_judge_prompts(made, choice.judge_prompts)
    source = resolve_model(choice.name)
    card = read_card(Path(source)) if Path(source).is_dir() else ModelCard(name=source)
    options: dict[str, Any] = {
        name: getattr(choice, name)
        for name in (
            "device",
            "device_map",
            "dtype",
            "attention",
            "quantize",
            "revision",
            "trust_remote_code",
            "cache_gb",
            "max_rows",
            "threads",
            "rows_gb",
            "shared_prefix",
            "draft_tokens",
        )
    }
    engine: Engine
    if choice.replicas > 1:
        from stepsight.engines.replicas import ReplicatedEngine

        engine = ReplicatedEngine.load(source, choice.replicas, name=card.name, **options)
    else:
        from stepsight.engines.transformers import TransformersEngine

        engine = TransformersEngine.load(source, name=card.name, **options)
    made = LoadedModel(engine, card, time.perf_counter() - started, choice=choice)
    return with_judge_prompts(made, choice.judge_prompts)
