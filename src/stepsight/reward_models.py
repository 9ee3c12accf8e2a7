"""Which reward model judges a model's answers: one named by the user, or the one on the model's card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepsight.errors import InputError, ModelError
from stepsight.judges.reward import RewardJudge, WordsReward
from stepsight.model_folders import CARD, DELTA, PICO, read_card, resolve_model
from stepsight.protocols import Engine

if TYPE_CHECKING:
    from stepsight.assembly import LoadedModel, ModelChoice


def reward_judge(model: LoadedModel) -> RewardJudge:
    """The judge that asks the reward model which the model's choice names, or else its card; loaded at the first call.

    Raises:
        InputError: neither names one, or there is no such kind.
        ModelError: it cannot be loaded, or is none.
        EngineError: its endpoint or its process does not answer.
    """
    choice = model.choice
    named = choice.reward if choice is not None else ""
    key = named or model.card.reward
    if not key:
        raise InputError(
            f"nobody says which reward model judges the answers of {model.engine.name}",
            hint="name one with --reward; see docs/rewards.md",
        )
    if key not in model.rewards:
        if named and ":" in named and not Path(named).exists():
            model.rewards[key] = _connected(named, choice)
        elif named:
            model.rewards[key] = _loaded(Path(resolve_model(named)), model)
        else:
            own = Path(resolve_model(PICO if choice is None else choice.name))
            model.rewards[key] = _loaded(own / key, model)
    return model.rewards[key]


def _connected(name: str, choice: ModelChoice | None) -> RewardJudge:
    from stepsight.rewards import connect

    assert choice is not None
    model = connect(
        name,
        python=choice.reward_python or None,
        device=choice.device,
        dtype=choice.dtype,
        trust_remote_code=choice.trust_remote_code,
    )
    # The one that the paper's code asks, asked as that code does.
    return RewardJudge(model, asks="released-1" if name.startswith("ixc:") else "prefix")


def _loaded(folder: Path, model: LoadedModel) -> RewardJudge:
    """A folder that `stepsight train` made, or what differs from its base, where the model's own engine runs."""
    from stepsight.engines.replicas import ReplicatedEngine
    from stepsight.engines.transformers import TransformersEngine

    card = read_card(folder)
    if card.words is None:
        raise ModelError(
            f"{folder} is no reward model: its {CARD} names no words",
            hint="train one by a recipe with `task: reward`; see docs/rewards.md",
        )
    options = {
        "model": folder / card.base,
        "name": card.name,
        "delta": folder / DELTA if card.base else None,
        **_options(model.choice),
    }
    engine: Engine
    if isinstance(model.engine, ReplicatedEngine):
        engine = model.engine.also(str(folder), **options)
    else:
        beside = model.engine if isinstance(model.engine, TransformersEngine) else None
        threads = None if model.choice is None else model.choice.threads
        engine = TransformersEngine.load(**options, threads=threads, beside=beside)
    return RewardJudge(WordsReward(engine, *card.words), gather=card.gather, cutoff=card.cutoffs.get("reward"))


def _options(choice: ModelChoice | None) -> dict[str, Any]:
    if choice is None:
        return {}
    names = ("device", "dtype", "cache_gb", "max_rows")
    return {name: getattr(choice, name) for name in names}
